"""Prepared data, each made once: kept in a folder, and on a cluster in a storage beside it."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock

from datasets.errors import InputError
from datasets.files import AnyPath, away_is_an_oserror, put_in_place, written_whole

ARCHIVE = ".zip"
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

        Of several studies of this machine that want it at once one makes it, the others wait.

        Args:
            name: Stands for the content: what has it is never made again.
            make: Makes it at a path, whole or not at all.
        """
        path = self.folder / name
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
        archive = path.with_name(f"{path.name}{ARCHIVE}")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            if _download(self.shared / name, beside):
                put_in_place(beside, path)
            elif _download(self.shared / archive.relative_to(self.folder).as_posix(), archive):
                with zipfile.ZipFile(archive) as members:
                    _check_stored(members, archive, self.shared / name)
                    members.extractall(beside)
                put_in_place(beside, path)
        finally:
            archive.unlink(missing_ok=True)
        return path.exists()

    def _store(self, name: str, path: Path) -> None:
        """Copies it into the shared storage, if it is not there."""
        if self.shared is None:
            return
        if path.is_file():
            _upload(path, self.shared / name)
            return
        archive, target = path.with_name(f"{path.name}{ARCHIVE}"), self.shared / f"{name}{ARCHIVE}"
        if _is_there(target):
            return
        try:
            with zipfile.ZipFile(archive, "w") as members:  # not compressed: floats hardly shrink
                for file in filter(Path.is_file, path.rglob("*")):
                    members.write(file, file.relative_to(path))
            _upload(archive, target)
        finally:
            archive.unlink(missing_ok=True)


def _check_stored(members: zipfile.ZipFile, archive: Path, source: AnyPath) -> None:
    """
    Raises:
        InputError: If an archive would unpack to more than it is, which none made here does.
    """
    claimed = sum(member.file_size for member in members.infolist())
    if claimed > archive.stat().st_size:
        raise InputError(
            f"{source}{ARCHIVE} would unpack to {claimed:,} bytes, it has "
            f"{archive.stat().st_size:,}: it was not made here; remove it"
        )


def _is_there(file: AnyPath) -> bool:
    with away_is_an_oserror(file):
        return file.is_file()


def _download(source: AnyPath, target: Path) -> bool:
    """Copies a file, if there is one."""
    if not _is_there(source):
        return False
    with away_is_an_oserror(source):
        if isinstance(source, Path):
            shutil.copyfile(source, target)
        else:
            source.fs.get_file(source.path, str(target))
    return True


def _upload(source: Path, target: AnyPath) -> None:
    """Copies a file, if it is not there: on a disk beside and then renamed; an object is there
    whole or not at all."""
    if _is_there(target):
        return
    with away_is_an_oserror(target):
        if isinstance(target, Path):
            with written_whole(Path(target)) as beside:
                shutil.copyfile(source, beside)
        else:
            target.fs.put_file(str(source), target.path)
