"""Published files: fetched where they are missing, and checked before anything reads them."""

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from datasets.errors import InputError
from datasets.files import put_in_place

TIMEOUT = 30
"""Seconds without a byte after which a download is given up."""

PART = 1 << 20
"""Bytes read at once."""


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published."""

    name: str
    size: int
    """In bytes."""
    sha256: str

    def check(self, path: Path, origin: str) -> None:
        """Compares what lies at a path with what was published.

        Args:
            path: Of the file.
            origin: What to call it and what to do about it, the end of the message.

        Raises:
            InputError: If it is shorter or longer, or has another SHA-256.
        """
        size = path.stat().st_size
        if size != self.size:
            relation = "truncated" if size < self.size else "another file"
            raise InputError(
                f"{self.name} is {relation}: it has {size:,} bytes, expected {self.size:,}; "
                f"{origin}"
            )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != self.sha256:
            raise InputError(
                f"{self.name} has the wrong checksum: its SHA-256 is {sha256}, expected "
                f"{self.sha256}; {origin}"
            )


@dataclass(frozen=True)
class Download:
    """What comes from one address: a file, or a ZIP archive with files in it."""

    url: str
    name: str
    """What it is saved as; ends in ``.zip`` if it is an archive."""
    files: Sequence[PublishedFile]

    @property
    def is_zip(self) -> bool:
        return self.name.endswith(".zip")


def complete(
    downloads: Sequence[Download], folder: Path, notify: Callable[[str], None], otherwise: str
) -> None:
    """Puts into a folder those files that are not there yet.

    An archive that the user saved there is unpacked; else it is fetched, unpacked and not kept.
    Each file is written beside, checked and then renamed: as published, or absent.

    Args:
        downloads: Where they come from.
        folder: Is made if it is not there.
        notify: Is told what was downloaded, a line each.
        otherwise: What one can do without the files: the end of the message if there is no
            network.

    Raises:
        InputError: If a file cannot be fetched or is not as published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for download in _missing(downloads, folder):
        saved = folder / download.name
        if saved.is_file():  # only an archive can be there while its files are missing
            _unpack(saved, download, folder, f"remove {saved} and it is downloaded again")
            continue
        with _beside(saved) as beside:
            try:
                size = _fetch(download, beside)
            except (OSError, HTTPException) as error:
                advice = _advice(_missing(downloads, folder), folder)
                raise InputError(
                    f"cannot download {download.url} ({_reason(error)}): {advice}; {otherwise}"
                ) from error
            _keep(beside, download, folder)
        notify(f"downloaded {download.url}, {size / 1e6:.1f} MB")


def check_present(downloads: Sequence[Download], folder: Path) -> None:
    """Checks those of the files that are in a folder.

    Raises:
        InputError: If one of them is not as published.
    """
    for file in (file for download in downloads for file in download.files):
        path = folder / file.name
        if path.is_file():
            file.check(path, f"remove {path} and it is downloaded again")


def _missing(downloads: Sequence[Download], folder: Path) -> list[Download]:
    return [
        download
        for download in downloads
        if not all((folder / file.name).is_file() for file in download.files)
    ]


def _reason(error: Exception) -> object:
    if isinstance(error, HTTPError):
        error.close()  # it is the response, too
    return error.reason if isinstance(error, URLError) else error


def _advice(missing: Sequence[Download], folder: Path) -> str:
    wanted = [
        f"{each.url} as {each.name}"
        + (f" (or {' and '.join(f.name for f in each.files)} out of it)" if each.is_zip else "")
        for each in missing
    ]
    return f"save {' and '.join(wanted)} into {folder.resolve()} and give the same command"


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path to write to before `path` itself; nothing is left there."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _fetch(download: Download, path: Path) -> int:
    """Downloads with a progress bar, on a terminal; returns the number of bytes."""
    console = Console()
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with (
        urlopen(download.url, timeout=TIMEOUT) as response,
        path.open("wb") as file,
        Progress(
            TextColumn("{task.description}"),
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress,
    ):
        declared = int(response.headers.get("Content-Length") or 0) or None
        task = progress.add_task(f"download {download.name}", total=declared)
        while part := response.read(PART):
            file.write(part)
            progress.advance(task, len(part))
        size = file.tell()
    if declared is not None and size != declared:
        raise OSError(f"the connection closed after {size:,} of {declared:,} bytes")
    return size


def _keep(fetched: Path, download: Download, folder: Path) -> None:
    origin = f"this came from {download.url}: try again later"
    if download.is_zip:
        _unpack(fetched, download, folder, origin)
    else:
        (file,) = download.files
        file.check(fetched, origin)
        put_in_place(fetched, folder / file.name)


def _unpack(archive: Path, download: Download, folder: Path, origin: str) -> None:
    try:
        with zipfile.ZipFile(archive) as members:
            for file in download.files:
                with members.open(file.name) as member:
                    _unpack_member(member, file, folder, origin)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise InputError(f"{download.name} cannot be unpacked ({error}); {origin}") from error


def _unpack_member(member: IO[bytes], file: PublishedFile, folder: Path, origin: str) -> None:
    path = folder / file.name
    if path.is_file():
        return
    with _beside(path) as beside:
        with beside.open("wb") as copy:
            shutil.copyfileobj(member, copy, PART)
        file.check(beside, origin)
        put_in_place(beside, path)
