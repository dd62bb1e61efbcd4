"""The commands of the README, and a way to run them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from places import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


def beginning(*words: str) -> list[str]:
    """The commands that begin so."""
    return [command for command in COMMANDS if command.startswith(" ".join(words))]


def executed(command: str, where: Path, *more: str) -> str:
    """Runs a command in another folder, with more arguments; returns what it printed."""
    _, script, *arguments = shlex.split(command)
    arguments = [str(ROOT / each) if each.startswith("../") else each for each in arguments]
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments, *more],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
