"""A study's journal and ledger a second time, in the storage that all nodes share.

The study works with the files on its own disk. What is appended to Optuna's journal is copied as
one more piece, named after the place where it begins; an ended trial's file is copied as it is.
Both before anything is built on them: a head whose disk is lost loses nothing, and a study begun
elsewhere goes on wherever the same storage is named.
"""

from pathlib import Path, PurePosixPath

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror, write_whole

LEDGER = "ledger"
JOURNAL = "optuna"


class SharedCopy:
    """The copy of one study.

    Args:
        store: The study's folder in the shared storage; None: there is none, and nothing is done.
        journal: Optuna's, on this disk.
        ledger: Folder of the ended trials, on this disk.
    """

    def __init__(self, store: UPath | None, journal: Path, ledger: Path) -> None:
        self.store = store
        self.journal_file = journal
        self.ledger = ledger
        self.copied = 0

    def take(self) -> str | None:
        """Takes the study from the storage where this disk does not have it.

        Returns:
            What was taken, for the user; None if nothing was.

        Raises:
            InputError: If both have it, and the disk's is not the storage's, continued.
        """
        if self.store is None:
            return None
        with away_is_an_oserror(self.store):
            return self._taken()

    def _taken(self) -> str | None:
        assert self.store is not None
        pieces = sorted((self.store / JOURNAL).iterdir()) if self._has(JOURNAL) else []
        self.copied = int(pieces[-1].stem) + pieces[-1].stat().st_size if pieces else 0
        if not pieces:
            return None
        if not self.journal_file.is_file():
            return self._fetch(pieces)
        with self.journal_file.open("rb") as file:
            begins_alike = file.read(pieces[0].stat().st_size) == pieces[0].read_bytes()
        if not begins_alike or self.journal_file.stat().st_size < self.copied:
            here = self.journal_file.parent
            raise InputError(
                f"{here} and {self.store} do not know the same study: it went on elsewhere, or is "
                f"another one; move {here} away to take the storage's, or choose another --name"
            )
        return None

    def _has(self, name: str) -> bool:
        assert self.store is not None
        return (self.store / name).is_dir()

    def _fetch(self, pieces: list[UPath]) -> str:
        assert self.store is not None
        files = sorted((self.store / LEDGER).iterdir()) if self._has(LEDGER) else []
        for file in files:
            write_whole(self.ledger / file.name, file.read_bytes())
        content = b"".join(piece.read_bytes() for piece in pieces)
        write_whole(self.journal_file, content)  # last: it says that the study is here
        return f"taken from {self.store}: {len(files)} ended trials"

    def bring_up(self) -> None:
        """Copies what the storage does not have of this disk.

        Raises:
            OSError: If the storage does not take it.
        """
        if self.store is None:
            return
        there = self.store / LEDGER
        with away_is_an_oserror(there):  # one request for a thousand files, with their sizes
            found = there.fs.find(there.path, detail=True)
        known = {PurePosixPath(name).name: facts["size"] for name, facts in dict(found).items()}
        for file in sorted(self.ledger.glob("*.parquet")):
            if known.get(file.name) != file.stat().st_size:
                self.trial(file)
        self.journal()

    def trial(self, file: Path) -> None:
        """Copies the file of an ended trial."""
        if self.store is not None:
            write_whole(self.store / LEDGER / file.name, file.read_bytes())

    def journal(self) -> None:
        """Copies what was appended to the journal since."""
        if self.store is None:
            return
        with self.journal_file.open("rb") as file:
            file.seek(self.copied)
            new = file.read()
        if new:
            write_whole(self.store / JOURNAL / f"{self.copied:012d}.log", new)
            self.copied += len(new)
