"""A study on a cluster of the lab: submitted, listened to, examined."""

import json
import re
import threading
from pathlib import Path

from commands import of_the_readme
from machines import Lab

SCRIPT = "studies/gnn_sweep.py"
TRIALS = 6
ARGUMENTS = (
    f"--molecules 200 --trials {TRIALS} --name lab --scheduler none --finalists 0 "
    # Machines that do not exist have no GPUs.
    "--gpus-per-trial 0"
)
GAPS = """
import json, os
from itertools import groupby
from pathlib import Path
from record.folder import StudyFolder
from engine.checkpoints import as_upath
from record.known_log import known_state
storage = as_upath(os.environ["ORRERY_STORAGE"])
found = {}
for trial in known_state(StudyFolder(Path.home() / "runs", "lab", storage)).trials():
    times = [report.unix_ms / 1000 for report in trial.reports]
    gaps = [later - sooner for sooner, later in zip(times, times[1:])]
    nodes = ", ".join(node for node, _ in groupby(each.node for each in trial.placements))
    found[trial.number] = [trial.status, trial.epoch, max(gaps), nodes]
print(json.dumps(found))
"""


class Submitted:
    """A study that was submitted: what it says is kept, and shown where it matters."""

    SHOWN = re.compile(
        r"(study|nodes:|node |trial \d+: its|best of|error|ended|forecast| +\d+/\d+ )"
    )

    def __init__(self, made: Lab, config: Path, more: str, log: str, **environment: str) -> None:
        self.lab = made
        command = of_the_readme(made, "submit", config)
        self.process = made.laptop(f"{command} -- {ARGUMENTS} {more}", **environment)
        self.lines: list[str] = []
        self.log = made.logs / log
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("w") as file:
            for line in self.process.stdout:
                plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", line).rstrip()
                self.lines.append(plain)
                file.write(f"{plain}\n")
                file.flush()
                if self.SHOWN.match(plain):
                    self.lab.notify(f"| {plain}")

    def said(self, words: str) -> bool:
        """Whether a line of it had these words.

        Raises:
            RuntimeError: If it did not, and will not any more.
        """
        if any(words in line for line in self.lines):
            return True
        if self.process.poll() is not None:
            self.thread.join(timeout=5)
            raise RuntimeError(f"ended with {self.process.returncode}: {self.lines[-20:]}")
        return False

    def recovered(self) -> bool:
        """Whether a trial ended that had gone on from its checkpoint; raises as `said`."""
        lines = "\n".join(self.lines)
        lost = re.findall(r"trial (\d+): its process cannot be reached", lines)
        return any(self.said(f"trial {number:<4} finished") for number in lost)

    def ended(self, seconds: float) -> int:
        """Waits for the end; returns the exit code."""
        code = self.process.wait(timeout=seconds)
        self.thread.join(timeout=5)
        return code

    def ended_well(self) -> None:
        """Waits for the end.

        Raises:
            RuntimeError: If it is not a good one.
        """
        if (code := self.ended(900)) != 0:
            raise RuntimeError(f"the study ended with {code}: {self.lines[-20:]}")


def agree(made: Lab, config: Path, **environment: str) -> None:
    """Asks the doctor on the head."""
    doctor = "python -m studies.doctor lab --runs-dir ~/runs"
    said = made.does(f"ray exec {config} '{doctor}'", "doctor.log", **environment)
    assert "MLflow shows what the log says" in said, said
    made.notify("MLflow shows what the log says")


def private(made: Lab, config: Path, address: str, **environment: str) -> None:
    """MLflow and the dashboard answer on the head, and nowhere else."""
    for port in (5000, 8265):
        local = f"curl --silent --fail --output /dev/null http://127.0.0.1:{port}/"
        made.does(f"ray exec {config} '{local}'", f"port-{port}.log", **environment)
        outside = f"http://{address}:{port}/"
        reached = made.laptop(f"curl --silent --noproxy '*' --max-time 5 {outside}").wait()
        assert reached == 7, f"{outside} can be connected to from outside (curl: {reached})"
    made.notify("MLflow and the dashboard answer on the head, and not from outside")


def report(made: Lab, config: Path, trials: int, epochs: int, **environment: str) -> None:
    """Each trial: how it ended, its longest gap between two epochs, and its nodes."""
    (made.folder / "gaps.py").write_text(GAPS)
    made.does(
        f"ray rsync-up {config} {made.folder}/gaps.py '~/gaps.py'", "sync.log", **environment
    )
    said = made.does(f"ray exec {config} 'python ~/gaps.py'", "gaps.log", **environment)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert [status for status, *_ in found.values()] == ["finished"] * trials, found
    assert [reached for _, reached, *_ in found.values()] == [epochs] * trials, found
    print("\n| trial | epochs | longest gap between two, s | nodes |\n|---|---|---|---|")
    for number, (_, reached, gap, where) in found.items():
        print(f"| {number} | {reached} | {gap:.1f} | {where} |")
    print(flush=True)
