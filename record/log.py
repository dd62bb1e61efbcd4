"""The log of a study: everything that happened, in order, in groups that are there whole or not.

`FileLog` is a file on a disk, `StoreLog` (record/store_log.py) numbered objects in a store, and
`MemoryLog` a list. After an append that failed a log takes no more: whether the group is in it is
known to who reads it next.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from datasets.files import write_whole
from record import lines
from record.events import Event


class Superseded(OSError):
    """Another driver went on with the study: this one has to stop writing, wherever it writes."""


class Log(Protocol):
    """What all logs can do.

    Attributes:
        share: Of a session's time so far, the share that reports may wait to be written with
            others; 0 where a group costs next to nothing.
    """

    share: float

    def read(self) -> Iterator[Event]:
        """All events, the first one first.

        Raises:
            InputError: If the log is damaged, or of another version.
            OSError: If it cannot be read.
        """
        ...

    def append(self, group: Sequence[Event]) -> None:
        """Adds events, all of them or none; they are there when this returns.

        Raises:
            ValueError: If one cannot be written exactly; the log is then as before.
            Superseded: If another driver went on with the study.
            OSError: If they cannot be written.
        """
        ...


class MemoryLog:
    """A log for tests and for studies that nobody will ask for again."""

    share = 0.0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def read(self) -> Iterator[Event]:
        """See `Log`."""
        for place, text in enumerate(tuple(self.lines), start=1):
            yield from lines.group(text[:-1], place, f"group {place}")

    def append(self, group: Sequence[Event]) -> None:
        """See `Log`."""
        self.lines.append(lines.line(len(self.lines) + 1, group))


class FileLog:
    """A log in a file, for the one process that has locked the study's folder.

    The first `append` cuts off what a process that died left of its last line; `read` passes over
    it, so that others may read while the log grows.

    Args:
        path: The file; it need not be there.

    Attributes:
        torn: Bytes of the unfinished last line that the latest reading found.
    """

    share = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = 0
        self.groups = 0
        self.end: int | None = None
        self.descriptor: int | None = None
        self.failure: OSError | None = None

    def is_there(self) -> bool:
        """Whether anything was ever written to it."""
        return self.path.is_file()

    def read(self) -> Iterator[Event]:
        """See `Log`."""
        whole = self._whole_lines()
        return self._events(whole)

    def append(self, group: Sequence[Event]) -> None:
        """See `Log`."""
        if self.failure is not None:
            raise self.failure
        text = lines.line(self._opened() + 1, group)
        try:
            self._write(text)
        except OSError as error:
            self.failure = error
            raise
        self.groups += 1

    def close(self) -> None:
        """Gives the file back."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _events(self, whole: Sequence[bytes]) -> Iterator[Event]:
        for number, text in enumerate(whole):
            if number:
                yield from lines.group(text, number, f"{self.path}, line {number + 1},")

    def _whole_lines(self) -> list[bytes]:
        """The lines of the file, header and all, without what is left of an unfinished last one.

        Raises:
            InputError: If another line than the last is damaged.
        """
        content = self.path.read_bytes() if self.path.is_file() else b""
        found = content.split(b"\n")
        rest = found.pop()
        if found and not rest and not lines.is_whole(found[-1]):
            rest = found.pop()  # its end reached the disk, and not all of the rest
        whole = len(content) - len(rest) - (1 if content.endswith(b"\n") and rest else 0)
        if content:
            lines.facts(found[0] if found else content, f"{self.path}, line 1,")
        self.torn, self.end, self.groups = len(content) - whole, whole, max(0, len(found) - 1)
        return found

    def _opened(self) -> int:
        """Opens the file for writing, cut off after its last whole line; returns its groups."""
        if self.descriptor is None:
            if self.end is None:
                for _ in self.read():  # no line is added to a damaged file
                    pass
            if not self.end:
                self._create()
            self.descriptor = os.open(self.path, os.O_RDWR)
            if self.torn:
                assert self.end is not None
                os.ftruncate(self.descriptor, self.end)
        return self.groups

    def _create(self) -> None:
        """Makes the file, with its first line or not at all."""
        first = lines.header()
        write_whole(self.path, first)
        self.end, self.torn = len(first), 0

    def _write(self, text: bytes) -> None:
        assert self.descriptor is not None
        assert self.end is not None
        if os.fstat(self.descriptor).st_size != self.end:
            raise Superseded(f"another process wrote to {self.path}: this one stops")
        written = 0
        while written < len(text):
            written += os.pwrite(self.descriptor, text[written:], self.end + written)
        os.fsync(self.descriptor)
        self.end += len(text)
