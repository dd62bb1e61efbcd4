"""A study's journal and ledger a second time, in the storage that all nodes share.

The study works with the files on its own disk. What is appended to Optuna's journal is copied as
one more piece, named after the place where it begins; an ended trial's file is copied as it is.
Both before anything is built on them: a head whose disk is lost loses nothing, and a study begun
elsewhere goes on wherever the same storage is named. No piece is ever overwritten: of two who go
on from the same place the second is stopped, whatever else should have kept them apart.
"""

import errno
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror, write_new, write_whole

LEDGER = "ledger"
JOURNAL = "optuna"

CLOCKS = 2.0
"""Seconds by which a file may be newer than its copy: a store's times are whole seconds."""


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
        pieces = self._contents(self.store / JOURNAL, ".log")
        there = b"".join(pieces.values())
        self.copied = len(there)
        begins = 0
        for name, piece in pieces.items():
            if int(name.split(".")[0]) != begins:
                raise InputError(
                    f"{self.store / JOURNAL} lacks what was before {name}: bring it back (an "
                    "older version of the bucket may have it), or choose another --name"
                )
            begins += len(piece)
        if not pieces:
            return None
        if not self.journal_file.is_file():
            return self._fetch(there)
        if not self.journal_file.read_bytes().startswith(there):
            here = self.journal_file.parent
            raise InputError(
                f"{here} and {self.store} do not know the same study: it went on elsewhere, or is "
                f"another one; move {here} away to take the storage's, or choose another --name"
            )
        return None

    def _contents(self, folder: UPath, ending: str) -> dict[str, bytes]:
        """The files of a folder, by name; of an object store read many at a time."""
        wanted = sorted(file for file in self._listed(folder) if file.endswith(ending))
        read = folder.fs.cat(wanted) if wanted else {}
        return {PurePosixPath(file).name: read[file] for file in wanted}  # pyright: ignore

    def _listed(self, folder: UPath) -> Mapping[str, Mapping[str, Any]]:
        return dict(folder.fs.find(folder.path, detail=True))  # pyright: ignore[reportArgumentType]

    def _fetch(self, journal: bytes) -> str:
        assert self.store is not None
        trials = self._contents(self.store / LEDGER, ".parquet")
        for name, content in trials.items():
            write_whole(self.ledger / name, content)
        write_whole(self.journal_file, journal)  # last: it says that the study is here
        return f"taken from {self.store}: {len(trials)} ended trials"

    def bring_up(self) -> None:
        """Copies what the storage does not have of this disk.

        Raises:
            OSError: If the storage does not take it.
        """
        if self.store is None:
            return
        with away_is_an_oserror(self.store):  # one request for a thousand files
            listed = self._listed(self.store / LEDGER)
        known = {PurePosixPath(name).name: facts for name, facts in listed.items()}
        for file in sorted(self.ledger.glob("*.parquet")):
            if file.name not in known or _is_older(known[file.name], file):
                self.trial(file)
        self.journal()

    def trial(self, file: Path) -> None:
        """Copies the file of an ended trial."""
        if self.store is not None:
            write_whole(self.store / LEDGER / file.name, file.read_bytes())

    def journal(self) -> None:
        """Copies what was appended to the journal since.

        Raises:
            OSError: If the storage does not take it, or has another continuation already.
        """
        if self.store is None:
            return
        with self.journal_file.open("rb") as file:
            file.seek(self.copied)
            new = file.read()
        if not new:
            return
        try:
            write_new(self.store / JOURNAL / f"{self.copied:012d}.log", new)
        except FileExistsError as error:
            elsewhere = "another run of this study went on from where this one did"
            raise OSError(errno.EEXIST, elsewhere, str(self.store)) from error
        self.copied += len(new)


def _is_older(copy: Mapping[str, Any], file: Path) -> bool:
    """Whether a file was written after its copy, of which a listing says this."""
    known = file.stat()
    seconds = copy["mtime"] if "mtime" in copy else copy["LastModified"].timestamp()
    return copy["size"] != known.st_size or known.st_mtime > seconds + CLOCKS
