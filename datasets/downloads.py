"""Completes folders of published files: fetched where they are missing, and checked before
anything reads them."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from datasets.errors import InputError
from datasets.files import put_in_place

TIMEOUT = 30
"""Seconds without a byte after which a download is given up."""

PART = 1 << 20
"""Bytes read at once."""

BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError)
"""What `zipfile` raises for no archive, or for one that is broken, lacks a file or is locked."""


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published.

    Attributes:
        name: What it is called, in its archive and in the folder.
        size: Bytes; None where that was not published.
        sha256: Hexadecimal digits.
    """

    name: str
    size: int | None
    sha256: str

    def check(self, path: Path, origin: str) -> None:
        """Compares a file with what was published.

        Args:
            path: Where the file is.
            origin: Where it came from and what to do about it, the end of the message.

        Raises:
            InputError: If it is shorter or longer, or has another SHA-256.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
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
    """What comes from one address: a file, or a ZIP archive with files in it.

    Attributes:
        url: The address.
        name: What it is saved as; ends in ``.zip`` if it is an archive.
        files: What is wanted of it; of no archive the one file, called `name`.
    """

    url: str
    name: str
    files: Sequence[PublishedFile]

    @property
    def is_zip(self) -> bool:
        """Whether it is an archive."""
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
        with TemporaryDirectory(prefix=download.name, suffix=".partial", dir=folder) as beside:
            saved = folder / download.name
            if saved.is_file():  # only an archive can be there while its files are missing
                origin = f"remove {saved} and it is downloaded again"
                _keep(saved, download, Path(beside), folder, origin)
                continue
            fetched = Path(beside) / download.name
            try:
                _fetch(download, fetched)
            except OSError as error:
                advice = _advice(_missing(downloads, folder), folder)
                raise InputError(
                    f"cannot download {download.url} ({_reason(error)}): {advice}; {otherwise}"
                ) from error
            size = fetched.stat().st_size
            origin = f"this came from {download.url}: try again later"
            _keep(fetched, download, Path(beside), folder, origin)
        notify(f"downloaded {download.url}, {size / 1e6:.1f} MB")


def check_present(downloads: Sequence[Download], folder: Path) -> None:
    """Checks those of the published files that are in a folder.

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


def _reason(error: OSError) -> object:
    """Finds the words for why a download failed: the server's, else those of the first cause."""
    from requests import HTTPError

    if isinstance(error, HTTPError) and (answer := error.response) is not None:
        answer.close()
        return answer.reason or error
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    if isinstance(cause, IncompleteRead):
        came, lacking = cast(int, cause.partial), cause.expected or 0  # urllib3's are numbers
        return f"the connection closed after {came:,} of {came + lacking:,} bytes"
    return cause


def _advice(missing: Sequence[Download], folder: Path) -> str:
    wanted = [
        f"{each.url} as {each.name}"
        + (f" (or {' and '.join(f.name for f in each.files)} out of it)" if each.is_zip else "")
        for each in missing
    ]
    return f"save {' and '.join(wanted)} into {folder.resolve()} and give the same command"


def _fetch(download: Download, path: Path) -> None:
    """Downloads a file, with a bar on a terminal.

    Raises:
        OSError: If that fails, also for a refusal of the server or a connection that closes early.
    """
    # A tenth of a second each, and not among the packages that a served model needs.
    from pooch import HTTPDownloader
    from tqdm import tqdm

    with tqdm(
        desc=f"download {download.name}",
        total=1,  # until the server tells; without one it counts as no bar
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,  # where there is no terminal
    ) as bar:
        progress: Any = bar
        fetch = HTTPDownloader(progress, PART, timeout=TIMEOUT)
        fetch(download.url, str(path), None)


def _keep(source: Path, download: Download, beside: Path, folder: Path, origin: str) -> None:
    """Moves what is missing of a download into a folder, after it was checked.

    Args:
        source: What was downloaded, or the archive that was saved.
        download: What it should be.
        beside: Folder for the files of an archive.
        folder: Where the files belong.
        origin: See `PublishedFile.check`.

    Raises:
        InputError: If a file is not there, or not as published.
    """
    missing = [file for file in download.files if not (folder / file.name).is_file()]
    for file in missing:
        if download.is_zip:
            _unpack(source, file.name, beside, origin)
        file.check(beside / file.name, origin)
        put_in_place(beside / file.name, folder / file.name)


def _unpack(archive: Path, name: str, folder: Path, origin: str) -> None:
    try:
        with zipfile.ZipFile(archive) as members:
            members.extract(name, folder)
    except BROKEN as error:
        raise InputError(f"{archive.name} cannot be unpacked ({error}); {origin}") from error
