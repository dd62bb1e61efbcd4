"""Version of the code and packages that train the trials, on which the last digits depend."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from record import names
from record.definition import place_of
from trainables.versions import versions

UNKNOWN = "unknown"
"""Commit that is recorded if the code is not in a git repository, or git is missing."""

DIGITS = 10
"""Digits of a SHA-256 that are recorded as the version of a file."""

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Code:
    """Version of the code that trains the trials.

    Attributes:
        commit: Git commit, with ``+`` appended if files were changed since.
        versions: Package name -> its version.
    """

    commit: str
    versions: Mapping[str, str]


def of_this_code(file: str) -> Code:
    """Returns the version of the running code, of its packages, and of a study's own file.

    Args:
        file: The file that defines the study. One outside this project is in no commit: its name
            with the first digits of its SHA-256 is among the versions.
    """
    digest = place_of(file).get(names.FILE_DIGEST)
    own = {Path(file).name: digest[:DIGITS]} if digest else {}
    return Code(commit(), {**versions(), **own})


def commit() -> str:
    """Returns the git commit of the code, with ``+`` appended if files were changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return UNKNOWN
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") or UNKNOWN
