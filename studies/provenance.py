"""With which code and where a trial was trained: its last digits depend on it.

Recorded as tags of the trial's run, for each of them what there was one after the other, since a
trial may go on in another session; compared when it is trained again (studies/replay.py).
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from analysis.runs import COMMIT, DEVICE, VERSIONS
from trainables.versions import versions

NODE = "orrery.node"
PROCESSOR = "orrery.processor"
THREADS = "orrery.threads"
TAGS = (NODE, DEVICE, PROCESSOR, THREADS, COMMIT, VERSIONS)

UNKNOWN = "unknown"
"""Of code that is in no repository."""

ROOT = Path(__file__).resolve().parent.parent


def of_this_code() -> dict[str, str]:
    """What to record of the code with each trial that it trains."""
    return {
        COMMIT: commit(),
        VERSIONS: " ".join(f"{package}=={version}" for package, version in versions().items()),
    }


def commit() -> str:
    """The commit of the code, with ``+`` where files were changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return UNKNOWN
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") or UNKNOWN


def one_after_the_other(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Tags that name what there is now after what there was before, if that is something else."""
    known = {tag: [each for each in before.get(tag, "").split(", ") if each] for tag in now}
    return {
        tag: ", ".join(known[tag] if known[tag][-1:] == [value] else [*known[tag], value])
        for tag, value in now.items()
    }
