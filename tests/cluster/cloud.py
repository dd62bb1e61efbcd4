"""A cloud that does not exist: moto answers for EC2, IAM, CloudFormation and S3, and each instance
that runs there is a machine of the lab."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from machines import LAPTOP, ROOT, Lab
from moto.ec2.responses.instances import InstanceResponse
from moto.server import ThreadedMotoServer

PORT = 5555
BUCKET = "orrery-lab"
NODES = 2
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": f"http://{LAPTOP}:{PORT}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What leads every client there; stands for an instance's role on the machines."""


as_asked = InstanceResponse._get_param


def as_many_as_asked(self: InstanceResponse, param_name: str, if_none: Any = None) -> Any:
    """moto would start as few instances as are asked for at least; EC2 starts the most it can."""
    return as_asked(self, "MaxCount" if param_name == "MinCount" else param_name, if_none)


InstanceResponse._get_param = as_many_as_asked


class Cloud:
    """The account, and the bodies of its instances.

    Args:
        lab: Where they are.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.ec2 = boto3.client("ec2")
        self.s3 = boto3.client("s3")
        self.bodies: dict[str, str] = {}
        self.over = threading.Event()
        self.trouble: BaseException | None = None
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def set_up_account(self) -> str:
        """What the user does once, with clusters/aws-account.yaml; returns the security group."""
        template = (ROOT / "clusters" / "aws-account.yaml").read_text()
        formation = boto3.client("cloudformation")
        parameters = {"Bucket": BUCKET, "Address": f"{LAPTOP}/32"}
        formation.create_stack(
            StackName="orrery",
            TemplateBody=template,
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        (stack,) = formation.describe_stacks(StackName="orrery")["Stacks"]
        return stack["Outputs"][0]["OutputValue"]

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Those in some states, the oldest first."""
        chosen = [{"Name": "instance-state-name", "Values": list(states)}] if states else []
        reservations = self.ec2.describe_instances(Filters=chosen)["Reservations"]
        found = [instance for each in reservations for instance in each["Instances"]]
        return sorted(found, key=lambda instance: instance["LaunchTime"])

    def head(self) -> dict[str, Any]:
        """The head, whatever its state."""
        return next(i for i in self.instances() if _tags(i).get("ray-node-type") == "head")

    def spot(self) -> list[dict[str, Any]]:
        """The spot instances that run."""
        return [i for i in self.instances("running") if i.get("InstanceLifecycle") == "spot"]

    def keys(self, prefix: str) -> list[str]:
        """Of the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def _follow(self) -> None:
        while not self.over.wait(1):
            try:
                running = {i["InstanceId"]: i for i in self.instances("running")}
                for gone in self.bodies.keys() - running.keys():
                    self.lab.power_off(self.bodies.pop(gone))
                    self.lab.notify(f"power off {gone}")
                for key in running.keys() - self.bodies.keys():
                    self._boot(running[key])
            except BaseException as error:
                self.trouble = error
                raise

    def _boot(self, instance: dict[str, Any]) -> None:
        key, address = instance["InstanceId"], instance["PrivateIpAddress"]
        pairs = self.ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
        known = self.lab.conf / "authorized_keys"
        wanted = {p["PublicKey"].strip() for p in pairs if p["KeyName"] == instance["KeyName"]}
        known.write_text("\n".join({*known.read_text().split("\n"), *wanted}) + "\n")
        name = "ip-" + address.replace(".", "-")
        public = instance.get("PublicIpAddress")
        self.lab.boot(name, address, [public] if public else [], disk=key)
        self.bodies[key] = name
        kind = instance.get("InstanceLifecycle", "on demand")
        self.lab.notify(f"boot {key}: {instance['InstanceType']}, {kind}, {name}")

    def close(self) -> None:
        self.over.set()
        self.thread.join()


@contextmanager
def cloud(lab: Lab) -> Iterator[Cloud]:
    """The cloud of a lab."""
    os.environ.update(ENVIRONMENT)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=LAPTOP, port=PORT, verbose=False)
    server.start()
    made = Cloud(lab)
    try:
        yield made
    finally:
        made.close()
        server.stop()


def edited(lab: Lab, group: str) -> Path:
    """cluster.yaml after a user's edits; the region stays as it is."""
    text = (ROOT / "cluster.yaml").read_text()
    assert text.count("<<<") == 5, "the four lines, and the one that says so"
    file = lab.folder / "cluster.yaml"
    assert "\nmax_workers: 4 #" in text
    text = text.replace("\nmax_workers: 4 #", f"\nmax_workers: {NODES} #")
    text = text.replace("sg-YOUR-GROUP", group)
    file.write_text(text.replace("s3://YOUR-BUCKET/", f"s3://{BUCKET}/"))
    yaml.safe_load(file.read_text())
    return file


def _tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
