"""A log in an object store, or a folder that several machines share: numbered, write-new pieces.

Each group is one object, named after its number. Nothing is ever written over: of two drivers that
append to the same log one writes the next number, and the other is superseded. A piece repeats
some of the pieces before it, as a node of a Fenwick tree sums up what is below it (Fenwick 1994,
https://doi.org/10.1002/spe.4380240306), and the first one of a session repeats all of them. A log
of n pieces is therefore read with one listing and at most 1 + log2(n) pieces, and each group is
written about log2(n) / 2 times.
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
"""Level of gzip's: the first piece of a session may be large, and the driver waits for it."""

SHARE = 0.01
"""Share of a session's time that reports may wait. The pieces that hold nothing but reports then
grow with the logarithm of the time: some 600 in a day, 800 in a week."""


class StoreLog:
    """A log as pieces in a folder.

    Args:
        folder: In an object store or on a disk; see `studies.checkpoints.opened`. It need not be
            there.

    Attributes:
        reads: Pieces that the latest reading took.
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
        """Whether anything was ever written to it."""
        return self._latest() > 0

    def read(self) -> Iterator[Event]:
        """See `record.log.Log`."""
        found = self._all_lines()
        if not self.first:
            self.groups, self.lines = len(found), found
        return self._events(found)

    def append(self, group: Sequence[Event]) -> None:
        """See `record.log.Log`."""
        if self.failure is not None:
            raise self.failure
        if self.groups is None:
            for _ in self.read():  # no piece is added to a damaged log
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
        """The piece after which a piece begins; the first one of a session begins after none."""
        place = number - self.first
        return number - (place & -place) if self.first else 0

    def _remember(self, number: int, text: bytes) -> None:
        """Keeps what later pieces repeat: nothing from before the session's first."""
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
        """The lines of all groups.

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
        """The number of the newest piece; 0 without one."""
        with away_is_an_oserror(self.folder):
            found = self.folder.fs.find(self.folder.path)
        names = (PurePosixPath(file).name for file in found)
        numbers = (int(n.removesuffix(ENDING)) for n in names if n.endswith(ENDING))
        return max(numbers, default=0)

    def _read(self, number: int) -> tuple[int, list[bytes]]:
        """The piece before a piece, and the lines of it."""
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
            # Where no place to begin at is given, S3 is first asked for the size.
            return gzip.decompress(bytes(piece.fs.cat_file(piece.path, start=0)))  # pyright: ignore


ADVICE = "bring it back, an older version of the bucket may have it, or choose another --name"
