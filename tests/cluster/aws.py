"""cluster.yaml end to end, against a cloud that does not exist.

`ray up`, a study whose nodes come by demand, a spot node lost, the head lost, the same command
again, the log compared with MLflow, `ray down`. Prints what happens, and when.
"""

import sys
from pathlib import Path

from cloud import ENVIRONMENT, Cloud, cloud, edited
from commands import of_the_readme
from machines import Lab, lab, until
from study import ARGUMENTS, SCRIPT, TRIALS, Submitted, agree, private, report

EPOCHS = 50

MORE = f"--epochs {EPOCHS} --cpus-per-trial 2"
"""Two trials a node: its four cores are two here."""


def main() -> int:
    environment = [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    with lab("ubuntu", environment) as made, cloud(made) as sky:
        run(made, sky)
    return 0


def run(made: Lab, sky: Cloud) -> None:
    config = edited(made, sky.set_up_account())
    made.does("ray get-auth-token --generate", "token.log")
    ray_up = of_the_readme(made, "up", config, "--yes --no-config-cache")
    made.does(ray_up, "up.log", **ENVIRONMENT)
    made.notify("`ray up` has returned")
    private(made, config, sky.head()["PublicIpAddress"], **ENVIRONMENT)

    study = Submitted(made, config, MORE, "study.log", **ENVIRONMENT)
    until("two nodes", lambda: len(sky.spot()) >= 2, 300)
    until("trials on two nodes", lambda: training(sky) >= 4, 300)
    victim = sky.spot()[-1]
    made.notify(f"terminate {victim['InstanceId']}, {victim['PrivateDnsName']}, which trains")
    sky.ec2.terminate_instances(InstanceIds=[victim["InstanceId"]])
    until("its trials go on", lambda: study.said("it goes on from its checkpoint"))
    until("a node in its place", lambda: study.said(") joined"), 300)
    until("a trial that lost its node has ended", study.recovered, 300)

    head = sky.head()["InstanceId"]
    made.notify(f"power off the head, {head}")
    sky.ec2.stop_instances(InstanceIds=[head])
    made.notify(f"the command has ended with {study.ended(60)}")
    sky.ec2.start_instances(InstanceIds=[head])
    made.does(ray_up, "up-again.log", **ENVIRONMENT)
    made.notify("`ray up` has returned again")
    Submitted(made, config, MORE, "again.log", **ENVIRONMENT).ended_well()
    other_ways(made, config)

    agree(made, config, **ENVIRONMENT)
    report(made, config, TRIALS + 2, EPOCHS, **ENVIRONMENT)
    made.does(of_the_readme(made, "down", config, "--yes"), "down.log", **ENVIRONMENT)
    states = {instance["State"]["Name"] for instance in sky.instances()}
    assert states == {"terminated"}, states
    until("nothing runs", lambda: not made.machines)
    made.notify("`ray down` has left nothing")


def other_ways(made: Lab, config: Path) -> None:
    """The same study, with a trial more each, as a job and from the head's own shell."""
    job = "ray job submit --working-dir . --"
    for trials, how in ((TRIALS + 1, f"{job} python"), (TRIALS + 2, "python")):
        command = f"{how} {SCRIPT} {ARGUMENTS} {MORE} --trials {trials}"
        said = made.does(
            f"ray exec {config} 'cd ~/orrery && {command}'", f"{trials}-trials.log", **ENVIRONMENT
        )
        assert f"study lab: {trials - 1} of {trials} trials done" in said, said
        assert f"all {trials} trials are done" in said, said
        made.notify(f"`{how} {SCRIPT} ...` has gone on with the study")


def training(sky: Cloud) -> int:
    """Trials that have a checkpoint in the bucket."""
    keys = sky.keys("orrery/studies/lab/trials/")
    return len({key.split("/")[5] for key in keys if "/checkpoint_" in key})


if __name__ == "__main__":
    sys.exit(main())
