"""The code that trials are trained with: their last digits depend on it."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.versions import versions

UNKNOWN = "unknown"
"""The commit of code that is in no repository."""

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Code:
    """With what trials are trained.

    Attributes:
        commit: See `record.trial.Placement`.
        versions: Package -> its version.
    """

    commit: str
    versions: Mapping[str, str]


def of_this_code() -> Code:
    """This code, and the packages that it runs with."""
    return Code(commit(), versions())


def commit() -> str:
    """The commit of the code, with ``+`` where files were changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return UNKNOWN
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") or UNKNOWN
