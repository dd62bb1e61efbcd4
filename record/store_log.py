"""A log of numbered, write-once pieces in an object store or in a folder shared by machines.

Each group of events adds one piece (object), named after its number. Pieces are never overwritten:
if two drivers append to the same log, one writes the next number and the other is superseded. A
piece repeats some of the pieces before it, as a node of a Fenwick tree sums up the nodes below it
(Fenwick 1994, https://doi.org/10.1002/spe.4380240306), and the first piece of a session repeats
all of them. A log of n pieces is therefore read with one listing and at most 1 + log2(n) pieces,
and each group is written about log2(n) / 2 times.
"""

import gzip
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from upath import UPath

from datasets.files import AnyPath, away_is_an_oserror, write_new
from record import lines
from record.events import Event
from record.lines import Damaged
from record.log import Superseded

ENDING = ".log.gz"

COMPRESSION = 3
"""Gzip level; low, because the first piece of a session may be large and the driver waits."""

SHARE = 0.01
"""Fraction of a session's elapsed time for which reports may be buffered.

The number of pieces with nothing but reports then grows with the logarithm of the time: about 600
in a day, 800 in a week.
"""


class StoreLog:
    """A log that consists of pieces in a folder; implements `record.log.Log`.

    Args:
        folder: Folder in an object store or on a disk, which need not exist.

    Attributes:
        reads: Number of pieces that the latest read took.
    """

    share = SHARE

    def __init__(self, folder: AnyPath) -> None:
        self.folder = UPath(folder)
        self.writer = uuid.uuid4().hex
        self.reads = 0
        self.groups: int | None = None
        self.first = 0
        self.lines: list[bytes] = []
        self.failure: OSError | None = None

    def is_there(self) -> bool:
        """Returns True if the log has at least one piece."""
        return self._latest() > 0

    def read(self) -> Iterator[Event]:
        """Reads all events, in order; see `record.log.Log.read`."""
        found = self._all_lines()
        if not self.first:
            self.groups, self.lines = len(found), found
        return self._events(found)

    def append(self, group: Sequence[Event]) -> None:
        """Appends events as a new piece; see `record.log.Log.append`."""
        if self.failure is not None:
            raise self.failure
        if self.groups is None:
            for _ in self.read():  # raises if the log is damaged
                pass
        assert self.groups is not None
        number = self.groups + 1
        text = lines.line(number, group)[:-1]
        since = self._since(number)
        try:
            self._write(number, since, [*self.lines[since - self.first :], text])
        except OSError as error:
            self.failure = error
            raise
        self._remember(number, text)

    def _since(self, number: int) -> int:
        """Returns the number of the last piece that a piece does not repeat.

        The result is 0 for the first piece of a session, which repeats all earlier ones.
        """
        place = number - self.first
        return number - (place & -place) if self.first else 0

    def _remember(self, number: int, text: bytes) -> None:
        """Keeps the lines that later pieces may repeat: those after the session's first piece."""
        if not self.first:
            self.first, self.lines = number, []
        else:
            self.lines.append(text)
        self.groups = number

    def _write(self, number: int, since: int, texts: Sequence[bytes]) -> None:
        first = lines.header(since=since, writer=self.writer)
        content = gzip.compress(first + b"\n".join(texts) + b"\n", COMPRESSION, mtime=0)
        try:
            write_new(self._piece(number), content)
        except FileExistsError as error:
            raise Superseded(
                f"another driver went on with the study in {self.folder}: this one stops"
            ) from error

    def _piece(self, number: int) -> UPath:
        return self.folder / f"{number:08d}{ENDING}"

    def _events(self, found: Sequence[bytes]) -> Iterator[Event]:
        for number, text in enumerate(found, start=1):
            yield from lines.group(text, number, f"{self.folder}, group {number},")

    def _all_lines(self) -> list[bytes]:
        """Reads the lines of all groups.

        Raises:
            InputError: If a piece is damaged or missing, or of another version.
            OSError: If the store does not answer.
        """
        chunks, number, self.reads = [], self._latest(), 0
        while number:
            since, chunk = self._read(number)
            chunks.append(chunk)
            number = since
        return [text for chunk in reversed(chunks) for text in chunk]

    def _latest(self) -> int:
        """Returns the number of the newest piece; 0 if there is none."""
        with away_is_an_oserror(self.folder):
            found = self.folder.fs.find(self.folder.path)
        names = (PurePosixPath(file).name for file in found)
        numbers = (int(n.removesuffix(ENDING)) for n in names if n.endswith(ENDING))
        return max(numbers, default=0)

    def _read(self, number: int) -> tuple[int, list[bytes]]:
        """Reads a piece; returns the number of the last piece that it does not repeat, and its
        lines."""
        piece, self.reads = self._piece(number), self.reads + 1
        try:
            first, *texts = self._content(piece).split(b"\n")[:-1]
        except FileNotFoundError:
            raise Damaged(f"{piece} is gone: {ADVICE}") from None
        except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise Damaged(f"{piece} is damaged: {ADVICE}") from error
        since = lines.facts(first, str(piece))["since"]
        if since + len(texts) != number:
            raise Damaged(f"{piece} has {len(texts)} groups, expected {number - since}: {ADVICE}")
        return since, texts

    def _content(self, piece: UPath) -> bytes:
        with away_is_an_oserror(piece):
            # Without `start`, S3 would need another request for the size.
            return gzip.decompress(bytes(piece.fs.cat_file(piece.path, start=0)))  # pyright: ignore


ADVICE = "bring it back, an older version of the bucket may have it, or choose another --name"
