"""clusters/on-prem.yaml end to end, on three machines that do not exist.

`ray up`, a study, a worker switched off and on again, the head lost with all runs on it, the same
command again, the log compared with MLflow, `ray down`. Prints what happens, and when.
"""

import shutil
import sys
from pathlib import Path

from commands import of_the_readme
from machines import ROOT, Lab, lab, until
from study import TRIALS, Submitted, agree, private, report

from record.state import fold
from record.store_log import StoreLog
from record.trial import ENDED

ADDRESSES = {"head": "10.77.0.10", "one": "10.77.0.11", "two": "10.77.0.12"}
USER = "ada"
EPOCHS = 1000
"""So many that a machine can be switched off and come back before a trial has ended."""

MORE = f"--epochs {EPOCHS}"
V1 = {"RAY_UP_enable_autoscaler_v2": "0"}


def main() -> int:
    with lab(USER) as made:
        run(made)
    return 0


def edited(made: Lab) -> Path:
    """clusters/on-prem.yaml after a user's edits."""
    text = (ROOT / "clusters" / "on-prem.yaml").read_text()
    for before, after in {
        "head_ip: 10.0.0.10": f"head_ip: {ADDRESSES['head']}",
        "[10.0.0.11, 10.0.0.12]": f"[{ADDRESSES['one']}, {ADDRESSES['two']}]",
        "ssh_user: you": f"ssh_user: {USER}",
        "ssh_private_key: ~/.ssh/id_ed25519": f"ssh_private_key: {made.key}",
    }.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    file = made.folder / "on-prem.yaml"
    file.write_text(text)
    return file


def run(made: Lab) -> None:
    config = edited(made)
    for name, address in ADDRESSES.items():
        made.boot(name, address)
    made.does("ray get-auth-token --generate", "token.log")
    ray_up = of_the_readme(made, "up", config, "--yes --no-config-cache")
    made.does(ray_up, "up.log", **V1)
    made.notify("`ray up` has returned")
    private(made, config, ADDRESSES["head"], **V1)
    until("three nodes", lambda: nodes(made, config) == 3, 180)
    made.notify("three nodes")

    study = Submitted(made, config, MORE, "study.log", **V1)
    until("all trials train", lambda: training(made) >= 6, 300)
    made.notify("switch off `two`, which trains")
    made.power_off("two")
    until("its trials go on", lambda: study.said("it goes on from its checkpoint"))
    made.boot("two", ADDRESSES["two"])
    made.notify("switch it on again")
    until("it is back", lambda: study.said("node two (2 CPU) joined"), 180)
    until("a trial has ended", lambda: ended(made) >= 1, 300)

    made.notify("switch off the head, and lose the runs on its disk")
    made.power_off("head")
    made.notify(f"the command has ended with {study.ended(60)}")
    shutil.rmtree(made.folder / "disks" / "head" / "home" / USER / "runs")
    made.boot("head", ADDRESSES["head"])
    made.does(ray_up, "up-again.log", **V1)
    made.notify("`ray up` has returned again")
    Submitted(made, config, MORE, "again.log", **V1).ended_well()

    agree(made, config, **V1)
    report(made, config, TRIALS, EPOCHS, **V1)
    made.does(of_the_readme(made, "down", config, "--yes"), "down.log", **V1)
    until("no Ray on any machine", lambda: not any(map(made.runs_ray, ADDRESSES)), 180)
    made.notify("`ray down` has left nothing")


def nodes(made: Lab, config: Path) -> int:
    """The nodes that Ray knows."""
    said = made.does(f"ray exec {config} 'ray status'", "status.log", **V1)
    return sum(int(line.split()[0]) for line in said.splitlines() if "local.cluster.node" in line)


def training(made: Lab) -> int:
    """Trials that have a checkpoint in the shared folder."""
    found = made.shared.glob("orrery/studies/lab/trials/*/trial-*/checkpoint_*")
    return len({checkpoint.parent.name for checkpoint in found})


def ended(made: Lab) -> int:
    """Trials that have ended, by the log in the shared folder."""
    return fold(StoreLog(made.shared / "orrery/studies/lab/log").read()).count(*ENDED)


if __name__ == "__main__":
    sys.exit(main())
