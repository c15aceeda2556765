"""The end of a process that still has events to send, where `atexit` does not tell of it."""

import sys
from collections.abc import Callable

EXIT_SECONDS = 10.0  # how long the end of a process waits for unsent events


def close_with_child(close: Callable[[float], None]) -> None:
    """See that a child of multiprocessing calls this before it ends: such a child leaves what `atexit` was told undone.

    Does nothing in other processes. To be called when there is something to send and not before: what a child registers while it imports
    is forgotten when its work begins.
    """
    process = sys.modules.get("multiprocessing.process")  # a child has it
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, (EXIT_SECONDS,), exitpriority=0)
