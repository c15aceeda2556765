"""Which tests run in one process: those of a file; and all of a package whose tests share a stack, so that there is one of it.

Files of such a package that have only stacks of their own are by themselves, so that the package does not take longer than all else.
"""

from xdist.scheduler import LoadFileScheduling

SHARED = ("tests/system/", "tests/compat/")
OWN = ("tests/system/test_up.py", "tests/system/test_processors.py")


class ByStack(LoadFileScheduling):
    """`--dist loadfile`, with the packages of SHARED as one unit each."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return file if file in OWN else next((package for package in SHARED if nodeid.startswith(package)), file)
