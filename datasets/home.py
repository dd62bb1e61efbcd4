"""Provides writable folders for the caches of libraries if the home folder is missing or
read-only.

In containers and batch jobs the user may have no home folder, or a read-only one; the folder of
temporary files may be read-only too. MLflow, Matplotlib and Numba then fail when they are
imported, Ray when it starts.
"""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def provide_folders() -> None:
    """Sets ``TMPDIR``, ``HOME`` or ``MPLCONFIGDIR`` to a writable folder if the default is not.

    It must be called before MLflow, Matplotlib and Ray are imported.

    Raises:
        SystemExit: With code 2 and a message on stderr, if no temporary folder is writable.
    """
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as error:
        print(f"error: {error.strerror}: name a folder in TMPDIR", file=sys.stderr)
        raise SystemExit(2) from error
    if temporary != os.environ.get("TMPDIR", "/tmp"):  # Ray uses this one without checking it
        os.environ["TMPDIR"] = temporary
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.expanduser raises without a home
    if not (home.is_absolute() and home.is_dir()):
        os.environ["HOME"] = str(own_folder())
    elif not os.access(home, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own_folder() / "matplotlib"))


def own_folder() -> Path:
    """Returns a folder for temporary files that only this user can write.

    That matters because Numba unpickles what it finds in its cache folder.

    Raises:
        OSError: If no temporary file can be written.
    """
    folder = Path(tempfile.gettempdir(), f"orrery-{os.geteuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    is_own = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_ISDIR(status.st_mode) and is_own and os.access(folder, os.W_OK):
        return folder
    return Path(tempfile.mkdtemp(prefix="orrery-"))  # somebody else owns the usual name
