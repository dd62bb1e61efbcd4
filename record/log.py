"""The log of a study: all of its events in order, in groups that are written atomically.

`FileLog` is a file on a disk, `StoreLog` (record/store_log.py) numbered objects in an object
store, and `MemoryLog` a list. After a failed append a log accepts no more events, because only a
new read shows whether the group was written.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from datasets.files import write_whole
from record import lines
from record.events import Event


class Superseded(OSError):
    """Another driver has taken over the study, so this one must stop writing anywhere."""


class Log(Protocol):
    """Interface of all logs.

    Attributes:
        share: Fraction of a session's elapsed time for which reports may be buffered; 0 if writing
            a group costs little.
    """

    share: float

    def read(self) -> Iterator[Event]:
        """Reads all events, in order.

        Raises:
            InputError: If the log is damaged, or of another version.
            OSError: If it cannot be read.
        """
        ...

    def append(self, group: Sequence[Event]) -> None:
        """Appends events atomically; they are durable on return.

        Raises:
            ValueError: If an event cannot be written exactly; the log is then unchanged.
            Superseded: If another driver has taken over the study.
            OSError: If the events cannot be written.
        """
        ...


class MemoryLog:
    """A log in memory, for tests and for studies that are not kept."""

    share = 0.0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def read(self) -> Iterator[Event]:
        """Reads all events, in order; see `Log.read`."""
        for place, text in enumerate(tuple(self.lines), start=1):
            yield from lines.group(text[:-1], place, f"group {place}")

    def append(self, group: Sequence[Event]) -> None:
        """Appends events; see `Log.append`."""
        self.lines.append(lines.line(len(self.lines) + 1, group))


class FileLog:
    """A log in a file, written only by the process that has locked the study's folder.

    A crashed process may leave an incomplete last line. `read` ignores it, so that other processes
    can read while the log grows; the first `append` truncates it.

    Args:
        path: Path of the file, which need not exist.

    Attributes:
        torn: Length in bytes of the incomplete last line at the latest read.
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
        """Returns True if the log exists."""
        return self.path.is_file()

    def read(self) -> Iterator[Event]:
        """Reads all events, in order; see `Log.read`."""
        whole = self._whole_lines()
        return self._events(whole)

    def append(self, group: Sequence[Event]) -> None:
        """Appends events atomically; see `Log.append`."""
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
        """Closes the file."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _events(self, whole: Sequence[bytes]) -> Iterator[Event]:
        for number, text in enumerate(whole):
            if number:
                yield from lines.group(text, number, f"{self.path}, line {number + 1},")

    def _whole_lines(self) -> list[bytes]:
        """Reads the complete lines of the file, header included, and sets `torn`.

        Raises:
            InputError: If the header is damaged or of another version.
        """
        content = self.path.read_bytes() if self.path.is_file() else b""
        found = content.split(b"\n")
        rest = found.pop()
        if found and not rest and not lines.is_whole(found[-1]):
            rest = found.pop()  # its newline reached the disk, but not all of the line did
        whole = len(content) - len(rest) - (1 if content.endswith(b"\n") and rest else 0)
        if content:
            lines.facts(found[0] if found else content, f"{self.path}, line 1,")
        self.torn, self.end, self.groups = len(content) - whole, whole, max(0, len(found) - 1)
        return found

    def _opened(self) -> int:
        """Opens the file for writing, truncated after its last complete line.

        Returns:
            The number of groups in the file.
        """
        if self.descriptor is None:
            if self.end is None:
                for _ in self.read():  # raises if the file is damaged
                    pass
            if not self.end:
                self._create()
            self.descriptor = os.open(self.path, os.O_RDWR)
            if self.torn:
                assert self.end is not None
                os.ftruncate(self.descriptor, self.end)
        return self.groups

    def _create(self) -> None:
        """Creates the file together with its header, atomically."""
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
