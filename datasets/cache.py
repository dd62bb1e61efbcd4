"""A cache of prepared data: a local folder, and on a cluster also a shared storage."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock

from datasets.errors import InputError
from datasets.files import AnyPath, away_is_an_oserror, put_in_place, written_whole

ARCHIVE = ".zip"
"""Suffix of a folder in the shared storage: it is stored as one file, so that it is there whole or
not at all."""


@dataclass(frozen=True)
class Cache:
    """A cache of prepared data, which later studies reuse.

    Attributes:
        folder: The folder on this machine.
        shared: The folder in a storage that other machines access too; None if there is none.
    """

    folder: Path
    shared: AnyPath | None = None

    @classmethod
    def of(cls, cache: "Path | Cache") -> "Cache":
        """Returns a cache as it is, and wraps a folder as a cache without shared storage."""
        return cache if isinstance(cache, Cache) else cls(cache)

    def get(self, name: str, make: Callable[[Path], object]) -> Path:
        """Returns the path of a prepared file or folder; makes it if neither the local folder nor
        the shared storage has it.

        A lock lets only one process of this machine make it; others wait.

        Args:
            name: Relative path that identifies the content; existing content is never made again.
            make: Writes the content to a path, atomically.

        Returns:
            Its path on this machine.

        Raises:
            InputError: If an archive in the shared storage was not made here.
            OSError: If it cannot be read or written, or the shared storage is unreachable.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if not path.exists() and not self._fetch(name, path):
                make(path)
            self._store(name, path)
        return path

    def _fetch(self, name: str, path: Path) -> bool:
        """Copies an entry from the shared storage, if it is there; returns whether it now exists
        here."""
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
        """Copies an entry into the shared storage, unless it is there already."""
        if self.shared is None:
            return
        if path.is_file():
            _upload(path, self.shared / name)
            return
        archive, target = path.with_name(f"{path.name}{ARCHIVE}"), self.shared / f"{name}{ARCHIVE}"
        if _is_there(target):
            return
        try:
            with zipfile.ZipFile(archive, "w") as members:  # uncompressed: floats hardly shrink
                for file in filter(Path.is_file, path.rglob("*")):
                    members.write(file, file.relative_to(path))
            _upload(archive, target)
        finally:
            archive.unlink(missing_ok=True)


def _check_stored(members: zipfile.ZipFile, archive: Path, source: AnyPath) -> None:
    """Checks that an archive was not compressed, as those made here never are.

    Raises:
        InputError: If it would unpack to more bytes than it has.
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
    """Copies a file, if it exists; returns whether it did."""
    if not _is_there(source):
        return False
    with away_is_an_oserror(source):
        if isinstance(source, Path):
            shutil.copyfile(source, target)
        else:
            source.fs.get_file(source.path, str(target))
    return True


def _upload(source: Path, target: AnyPath) -> None:
    """Copies a file, unless the target exists: on a disk to a temporary name that is then renamed;
    an object store writes atomically by itself."""
    if _is_there(target):
        return
    with away_is_an_oserror(target):
        if isinstance(target, Path):
            with written_whole(Path(target)) as beside:
                shutil.copyfile(source, beside)
        else:
            target.fs.put_file(str(source), target.path)
