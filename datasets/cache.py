"""Prepared data, each made once: kept in a folder, and on a cluster in a storage beside it."""

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock

from datasets.files import AnyPath

ARCHIVE = ".tar"
"""A folder lies in the storage as one file, which is there whole or not at all."""


@dataclass(frozen=True)
class Cache:
    """Where prepared data are kept for the next study.

    Attributes:
        folder: On this machine.
        shared: In a storage that other machines see; None: there is none.
    """

    folder: Path
    shared: AnyPath | None = None

    @classmethod
    def of(cls, cache: "Path | Cache") -> "Cache":
        """The same; of a folder, one that is not shared."""
        return cache if isinstance(cache, Cache) else cls(cache)

    def get(self, name: str, make: Callable[[Path], object]) -> Path:
        """A prepared file or folder, made where it is neither here nor in the shared storage.

        Of several studies that want it at once one makes it, and the others wait.

        Args:
            name: Stands for the content: what has it is never made again.
            make: Makes it at a path, whole or not at all.
        """
        path = self.folder / name
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if not path.exists() and not self._fetch(name, path):
                make(path)
                self._store(name, path)
        return path

    def _fetch(self, name: str, path: Path) -> bool:
        """Copies it from the shared storage, if it is there."""
        if self.shared is None:
            return False
        beside = path.with_name(f"{path.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        if (file := self.shared / name).is_file():
            _copy(file, beside)
        elif (archive := self.shared / f"{name}{ARCHIVE}").is_file():
            with archive.open("rb") as read, tarfile.open(fileobj=read, mode="r|") as members:
                members.extractall(beside, filter="data")
        else:
            return False
        beside.rename(path)
        return True

    def _store(self, name: str, path: Path) -> None:
        """Copies it into the shared storage."""
        if self.shared is None:
            return
        if path.is_file():
            _copy(path, self.shared / name)
            return
        archive = path.with_name(f"{path.name}{ARCHIVE}")
        try:
            with tarfile.open(archive, "w") as members:
                members.add(path, arcname=".")
            _copy(archive, self.shared / archive.name)
        finally:
            archive.unlink(missing_ok=True)


def _copy(source: AnyPath, target: AnyPath) -> None:
    """Copies a file, on a disk beside and then renamed; an object store does as much itself."""
    beside = target
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.partial")
    with source.open("rb") as read, beside.open("wb") as write:
        shutil.copyfileobj(read, write, length=2**24)
    if isinstance(beside, Path) and beside != target:
        beside.rename(str(target))
