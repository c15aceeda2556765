"""Which events of a block came before: those whose id is in the partition's window, or in the block already.

What a project's setting `ids.window` asks for decides who is looked for: by default events whose sender gave the id but not the
time. One that brings both again is the same row in ClickHouse anyhow, and costs nothing here.
"""

from typing import Final, Literal

from processors.datums import Given
from processors.id_window import IdWindow

Asked = Literal["untimed", "all", "off"]

# An event is looked for where its `given` is this or more.
LOOKED_FOR: Final[dict[Asked, int]] = {"untimed": Given.ID_ONLY, "all": Given.ID_AND_TIME, "off": Given.ID_ONLY + 1}


class Repetitions:
    """The ids of one block while it is processed, over its partition's window.

    Nothing of it is in the window before `keep`: a block that has to be processed again finds what it found.
    """

    def __init__(self, window: IdWindow, now: int) -> None:
        self._window = window
        self._now = now
        self._learned: dict[bytes, None] = {}
        self.dropped = 0  # events of the block

    def has(self, digest: bytes) -> bool:
        """Whether an event of this id came before."""
        return digest in self._learned or self._window.has(digest, self._now)

    def learn(self, digest: bytes) -> None:
        """An event of this id is to be put out."""
        self._learned[digest] = None

    def forget(self, digest: bytes) -> None:
        """It is not put out after all."""
        self._learned.pop(digest, None)

    def keep(self) -> None:
        """Put what was learned into the window."""
        if self._learned:
            self._window.add(self._learned)
