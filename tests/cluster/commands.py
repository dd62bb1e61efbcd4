"""The README's commands of a cluster, on a configuration that a user has edited."""

import re
from pathlib import Path

from machines import ROOT, Lab

LINES = re.findall(r"^ray .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


def of_the_readme(made: Lab, verb: str, config: Path, options: str = "") -> str:
    """The README's `ray VERB cluster.yaml ...`, with options after the verb; says which it is."""
    (line,) = [line for line in LINES if line.startswith(f"ray {verb} cluster.yaml")]
    made.notify(f"runs the README's `{line}`")
    return line.replace(f"ray {verb} cluster.yaml", f"ray {verb} {options} {config}")
