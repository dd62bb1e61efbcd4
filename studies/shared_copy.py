"""A study's journal and ledger a second time, in the storage that all nodes share.

The study works with the files on its own disk. What is appended to Optuna's journal is copied as
one more piece, named after the place where it begins; an ended trial's file is copied as it is.
Both before anything is built on them: a head whose disk is lost loses nothing, and a study begun
elsewhere goes on wherever the same storage is named. No piece is ever overwritten: of two who go
on from the same place the second is stopped, whatever else should have kept them apart.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror, write_new, write_whole
from studies.lease import Lease
from studies.records import Records

LEDGER = "ledger"
JOURNAL = "optuna"

CLOCKS = 2.0
"""Seconds by which a file may be newer than its copy: a store's times are whole seconds."""


class SharedCopy:
    """The copy of one study.

    Args:
        store: The study's folder in the shared storage; None: there is none, and nothing is done.
        journal: Optuna's, on this disk.
        records: The ended trials, on this disk.

    Attributes:
        lease: What holds the study for this driver; None: nothing does.
    """

    def __init__(self, store: UPath | None, journal: Path, records: Records) -> None:
        self.store = store
        self.journal_file = journal
        self.records = records
        self.copied = 0
        self.lease: Lease | None = None

    def is_there(self) -> bool:
        """Whether the storage has the study."""
        if self.store is None:
            return False
        with away_is_an_oserror(self.store):
            return bool(self._listed(self.store / JOURNAL))

    def take(self) -> str | None:
        """Takes from the storage what this disk does not have of the study, or not whole.

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
        known = self.journal_file.is_file()
        if known and not self.journal_file.read_bytes().startswith(there):
            here = self.journal_file.parent
            raise InputError(
                f"{here} and {self.store} do not know the same study: it went on elsewhere, or is "
                f"another one; move {here} away to take the storage's, or choose another --name"
            )
        trials = self._fetch()
        if not known:
            write_whole(self.journal_file, there)  # last: it says that the study is here
        return f"taken from {self.store}: {trials} ended trials" if trials or not known else None

    def _contents(self, folder: UPath, ending: str) -> dict[str, bytes]:
        """The files of a folder, by name; of an object store read many at a time."""
        wanted = sorted(file for file in self._listed(folder) if file.endswith(ending))
        read = folder.fs.cat(wanted) if wanted else {}
        return {PurePosixPath(file).name: read[file] for file in wanted}  # pyright: ignore

    def _listed(self, folder: UPath) -> Mapping[str, Mapping[str, Any]]:
        return dict(folder.fs.find(folder.path, detail=True))  # pyright: ignore[reportArgumentType]

    def _fetch(self) -> int:
        """Takes the files of ended trials that are not here, or not whole; returns how many."""
        assert self.store is not None
        listed = self._listed(self.store / LEDGER)
        wanted = {
            name: self.records.folder / PurePosixPath(name).name
            for name in listed
            if name.endswith(".parquet")
        }
        wanted = {name: here for name, here in wanted.items() if not self.records.is_whole(here)}
        contents = self.store.fs.cat([*wanted]) if wanted else {}
        for name, here in wanted.items():
            write_whole(here, contents[name])  # pyright: ignore
            written = _written(listed[name])
            os.utime(here, (written, written))  # as old as its copy, which need not be made again
        return len(wanted)

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
        for file in sorted(self.records.folder.glob("*.parquet")):
            newer = file.name not in known or _is_older(known[file.name], file)
            if newer and self.records.is_whole(file):
                self.trial(file)
        self.journal()

    def trial(self, file: Path) -> None:
        """Copies the file of an ended trial.

        Raises:
            OSError: If the storage does not take it, or another driver has the study.
        """
        if self.store is not None:
            if self.lease is not None:
                self.lease.check()
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
    return copy["size"] != known.st_size or known.st_mtime > _written(copy) + CLOCKS


def _written(listed: Mapping[str, Any]) -> float:
    """When, in seconds since 1970, as a listing of a disk or an object store says."""
    return listed["mtime"] if "mtime" in listed else listed["LastModified"].timestamp()
