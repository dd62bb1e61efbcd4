"""Extracts the commands from README.md and docs/*.md, and executes them.

Each line of a block marked ``sh`` is a command. A test executes it, or `NOT_EXECUTED` gives the
reason why no test does; unit/test_pages.py checks this for every page.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from places import ROOT

PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text()
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
"""Text of each page, by its path relative to the project's folder."""

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """Returns the fenced blocks of a page, each with its language and its dedented text."""
    return [(marked, dedent(block)) for _, marked, block in BLOCK.findall(text)]


def commands(text: str) -> list[str]:
    """Returns the commands of a page, with continuation lines joined and comments removed."""
    block = "\n".join(block for marked, block in blocks(text) if marked == "sh")
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]


COMMANDS = [*dict.fromkeys(command for text in PAGES.values() for command in commands(text))]
"""Commands of all pages, without duplicates."""


def beginning(*words: str) -> list[str]:
    """Returns the commands of all pages that begin with the given words."""
    return [command for command in COMMANDS if command.startswith(" ".join(words))]


BENCHMARKS = [
    command
    for script in (
        *("batching", "training_step", "driving_step", "driving_cores", "plain_study"),
        *("recording_cost", "car_racing_drawing", "large_study", "driver_cost", "gpu", "chaos"),
        "controller_throughput",
    )
    for command in beginning(f"python benchmarks/{script}.py")
]
DOCTOR = beginning("python studies/doctor.py")
REPLAYS = beginning("python studies/replay.py")
EXPORTS = beginning("python studies/export.py")
DRY_RUNS = [command for command in COMMANDS if command.endswith(" --dry-run")]
EXPERIMENTS = [
    *beginning("python studies/gnn_sweep.py --name qm9-"),
    *beginning("python studies/world_model_sweep.py --name drives-"),
    *beginning("python benchmarks/homework_loop.py --name drives-"),
    *beginning("python studies/controller_sweep.py --name racing-"),
]
"""The studies whose trainings are rows of docs/results."""

FURTHER = beginning("python analysis/further_drives.py")

STUDIES = [
    command
    for command in beginning("python studies/")
    if command not in (*DOCTOR, *REPLAYS, *EXPORTS, *DRY_RUNS, *EXPERIMENTS)
]
ANALYSES = [command for command in beginning("python analysis/") if command not in FURTHER]
MAKE = beginning("make ")
OWN = commands(PAGES["docs/your-own-study.md"])
CLUSTERS = [line for line in commands(PAGES["README.md"]) if line.startswith("ray ")]

EXECUTED = {
    "acceptance/test_benchmarks.py": BENCHMARKS,
    "acceptance/test_clusters.py": CLUSTERS,
    "acceptance/test_page_commands.py": [
        *(*DOCTOR, *REPLAYS, *EXPORTS, *DRY_RUNS, *STUDIES, *ANALYSES, *MAKE)
    ],
    "acceptance/test_your_own_study.py": OWN,
}
"""Commands that each test file executes, by the path of the file."""

AWS = "needs an AWS account; tests/cluster/aws.py does the same in a cloud that does not exist"
ON_PREM = "needs machines of one's own; tests/cluster/on_prem.py does the same with some made up"
JOB = "takes place on the head of a cluster; tests/cluster/aws.py submits such a job"
SLURM = "needs a batch system, and is a script of it"
HOURS = "trains for hours; unit/test_benchmarks_experiments.py holds what it asks for to the rows"
DRIVEN = (
    "drives for minutes or hours; unit/test_trainables_racing_controller.py and "
    "unit/test_analysis_further_drives.py drive some steps"
)
ROWS = (
    "needs those studies; integration/test_benchmarks_rows.py and "
    "unit/test_benchmarks_controllers.py make rows of small ones"
)
POLE = (
    "trains for minutes, or needs Stable-Baselines3; unit/test_benchmarks_cartpole.py is of both"
)
CURVES = "trains for hours; integration/test_benchmarks_record_curves.py records small ones"
FROM = "runs 13 studies; unit/test_benchmarks_from_earlier.py makes its table of made-up searches"
ABLATIONS = "trains for an hour; unit/test_benchmarks_driving_ablations.py trains for a second"
REPLAYED = "takes minutes; unit/test_benchmarks_search.py replays searches on a small table"
DRAWN = "writes docs/; the unit tests of benchmarks draw each figure and fill each table"

NOT_EXECUTED: Mapping[str, str] = {
    "aws cloudformation deploy": AWS,
    "aws cloudformation describe-stacks": AWS,
    "ray submit cluster.yaml studies/gnn_sweep.py -- --trials 64": AWS,
    "cd ~/orrery": JOB,
    "ray job submit": JOB,
    "export RAY_UP_enable_autoscaler_v2=0": ON_PREM,
    "ray up clusters/on-prem.yaml": ON_PREM,
    "ray submit clusters/on-prem.yaml": ON_PREM,
    "taskset --cpu-list 0-3": "needs four cores; acceptance/test_machines.py takes one away",
    "docker run": "needs Docker; acceptance/test_machines.py makes such a container itself",
    'cd "$SLURM_SUBMIT_DIR"': SLURM,
    "export TMPDIR=/tmp": SLURM,
    "srun python studies/gnn_sweep.py": SLURM,
    "python studies/gnn_sweep.py --name qm9-": HOURS,
    "python studies/world_model_sweep.py --name drives-": HOURS,
    "python benchmarks/homework_loop.py": HOURS,
    "python studies/controller_sweep.py --name racing-": HOURS,
    "python analysis/further_drives.py": DRIVEN,
    "python benchmarks/cartpole_curves.py": POLE,
    "python benchmarks/cartpole_reference.py": POLE,
    "python benchmarks/rows.py": ROWS,
    "python benchmarks/gnn_beyond.py": "needs those studies; integration/test_analysis_prior.py "
    "scores a small one",
    "python benchmarks/figures.py": DRAWN,
    "python benchmarks/record_curves.py": CURVES,
    "python benchmarks/driving_ablations.py": ABLATIONS,
    "python benchmarks/from_earlier.py": FROM,
    "python benchmarks/search.py": REPLAYED,
}
"""Reasons why no test executes a command, by the beginning of the command."""


def accounts(command: str) -> list[str]:
    """Returns the test files that execute a command and the reasons why none does."""
    executed = [test for test, theirs in EXECUTED.items() if command in theirs]
    return executed + [why for how, why in NOT_EXECUTED.items() if command.startswith(how)]


def executed(command: str, where: Path, *more: str) -> str:
    """Executes a command of a page in another folder.

    Args:
        command: A command that runs a Python script of this project.
        where: Working directory.
        more: Further arguments.

    Returns:
        Standard output.

    Raises:
        AssertionError: If the exit code is not 0.
    """
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
