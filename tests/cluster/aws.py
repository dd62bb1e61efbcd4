"""cluster.yaml end to end, against a cloud that does not exist.

    sudo make cluster-test

`ray up`, a study whose nodes come by demand, a spot node lost, the head lost, the same command
again, the three records compared, `ray down`. Prints what happens, and when.
"""

import json
import re
import sys
import threading

from cloud import ENVIRONMENT, Cloud, cloud, edited
from machines import Lab, lab, until

STUDY = "studies/gnn_sweep.py"
TRIALS = 6
EPOCHS = 50
ARGUMENTS = (
    f"--molecules 200 --trials {TRIALS} --epochs {EPOCHS} --name lab --scheduler none "
    # Machines that do not exist have no GPUs.
    "--gpus-per-trial 0 --cpus-per-trial 2"
)
GAPS = """
import json
from pathlib import Path
from studies.records import Records
records = Records(Path.home() / "runs" / "lab" / "ledger")
found = {}
for number in records.numbers():
    trial = records.read(number)
    times = [row["unix_ms"] / 1000 for row in trial.rows]
    gaps = [later - sooner for sooner, later in zip(times, times[1:])]
    found[number] = [trial.state, trial.epoch, max(gaps), trial.tags["orrery.node"]]
print(json.dumps(found))
"""


class Submitted:
    """A study that was submitted: what it says is kept, and shown where it matters."""

    SHOWN = re.compile(
        r"(study|nodes:|node |trial \d+: its|best of|error|ended|forecast| +\d+/\d+ )"
    )

    def __init__(self, made: Lab, command: str, log: str) -> None:
        self.lab = made
        self.process = made.laptop(command, **ENVIRONMENT)
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
                    self.lab.say(f"| {plain}")

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

    def ended(self, seconds: float) -> int:
        """Waits for the end; returns the exit code."""
        code = self.process.wait(timeout=seconds)
        self.thread.join(timeout=5)
        return code


def main() -> int:
    environment = [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    with lab("ubuntu", environment) as made, cloud(made) as sky:
        run(made, sky)
    return 0


def run(made: Lab, sky: Cloud) -> None:
    config = edited(made)
    sky.set_up_account()
    made.does("ray get-auth-token --generate", "token.log")
    ray_up = f"ray up --yes --no-config-cache {config}"
    made.does(ray_up, "up.log", **ENVIRONMENT)
    made.say("`ray up` has returned")
    private(made, sky, config)

    submit = f"ray submit {config} {STUDY} -- {ARGUMENTS}"
    study = Submitted(made, submit, "study.log")
    until("two nodes", lambda: len(sky.spot()) >= 2, 300)
    until("trials on two nodes", lambda: training(sky) >= 4, 300)
    victim = sky.spot()[-1]
    made.say(f"terminate {victim['InstanceId']}, {victim['PrivateDnsName']}, which trains")
    sky.ec2.terminate_instances(InstanceIds=[victim["InstanceId"]])
    until("its trials go on", lambda: study.said("it goes on from its checkpoint"))
    until("a node in its place", lambda: len(sky.spot()) >= 2, 300)
    until("a trial has ended", lambda: len(sky.keys("orrery/studies/lab/ledger/")) >= 1, 300)

    head = sky.head()["InstanceId"]
    made.say(f"power off the head, {head}")
    sky.ec2.stop_instances(InstanceIds=[head])
    made.say(f"the command has ended with {study.ended(60)}")
    sky.ec2.start_instances(InstanceIds=[head])
    made.does(ray_up, "up-again.log", **ENVIRONMENT)
    made.say("`ray up` has returned again")
    again = Submitted(made, submit, "again.log")
    if (code := again.ended(600)) != 0:
        raise RuntimeError(f"the study ended with {code}: {again.lines[-20:]}")

    said = made.does(
        f"ray exec {config} 'python -m studies.doctor lab --runs-dir ~/runs'",
        "doctor.log",
        **ENVIRONMENT,
    )
    assert "the three agree" in said, said
    made.say("Optuna, Tune and MLflow agree")
    report(made, config)
    made.does(f"ray down --yes {config}", "down.log", **ENVIRONMENT)
    states = {instance["State"]["Name"] for instance in sky.instances()}
    assert states == {"terminated"}, states
    until("nothing runs", lambda: not made.machines)
    made.say("`ray down` has left nothing")


def training(sky: Cloud) -> int:
    """Trials that have a checkpoint in the bucket."""
    keys = sky.keys("orrery/studies/lab/trials/")
    return len({key.split("/")[5] for key in keys if "/checkpoint_" in key})


def private(made: Lab, sky: Cloud, config) -> None:
    """MLflow and the dashboard answer on the head, and nowhere else."""
    for port in (5000, 8265):
        local = f"curl --silent --fail --output /dev/null http://127.0.0.1:{port}/"
        made.does(f"ray exec {config} '{local}'", f"port-{port}.log", **ENVIRONMENT)
        outside = f"http://{sky.head()['PublicIpAddress']}:{port}/"
        reached = made.laptop(f"curl --silent --noproxy '*' --max-time 5 {outside}").wait()
        assert reached == 7, f"{outside} can be connected to from outside (curl: {reached})"
    made.say("MLflow and the dashboard answer on the head, and not from outside")


def report(made: Lab, config) -> None:
    """Each trial: how it ended, its longest gap between two epochs, and its nodes."""
    (made.folder / "gaps.py").write_text(GAPS)
    made.does(
        f"ray rsync-up {config} {made.folder}/gaps.py /tmp/gaps.py", "sync.log", **ENVIRONMENT
    )
    said = made.does(f"ray exec {config} 'python /tmp/gaps.py'", "gaps.log", **ENVIRONMENT)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert [state for state, *_ in found.values()] == ["finished"] * TRIALS, found
    assert [epochs for _, epochs, *_ in found.values()] == [EPOCHS] * TRIALS, found
    print("\n| trial | epochs | longest gap between two, s | nodes |\n|---|---|---|---|")
    for number, (_, epochs, gap, where) in found.items():
        print(f"| {number} | {epochs} | {gap:.1f} | {where} |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
