"""Folders for what libraries keep: the home folder, or another where there is none.

In containers and batch jobs the user may have no home folder, or one that is read-only; the folder
of temporary files may be read-only too. MLflow, Matplotlib and Numba then fail when they are
imported, Ray when it starts.
"""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def provide_folders() -> None:
    """Sets the variables by which libraries find folders that can be written, where theirs cannot.

    To be called before MLflow, Matplotlib and Ray are imported.

    Raises:
        SystemExit: With code 2, as for all bad input, if there is none: the message says so.
    """
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as error:
        print(f"error: {error.strerror}: name a folder in TMPDIR", file=sys.stderr)
        raise SystemExit(2) from error
    if temporary != os.environ.get("TMPDIR", "/tmp"):  # what Ray takes without a look at it
        os.environ["TMPDIR"] = temporary
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.expanduser raises without a home
    if not (home.is_absolute() and home.is_dir()):
        os.environ["HOME"] = str(own_folder())
    elif not os.access(home, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own_folder() / "matplotlib"))


def own_folder() -> Path:
    """A folder among the temporary files that this user alone may write: what Numba keeps there
    is unpickled.

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
    return Path(tempfile.mkdtemp(prefix="orrery-"))  # somebody else has that name
