"""The files that Ray's cluster launcher reads: valid, and of one mind with the project."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import botocore.validate
import pytest
import ray
import yaml
from moto import mock_aws
from places import ROOT
from ray.autoscaler._private.util import prepare_config, validate_config

AWS = ROOT / "cluster.yaml"
ON_PREM = ROOT / "clusters" / "on-prem.yaml"
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
ACCOUNT = ROOT / "clusters" / "aws-account.yaml"


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


def check(config: dict[str, Any]) -> None:
    """What `ray up` would refuse, without asking a cloud.

    Ray's schema leaves ``node_config`` open, which is EC2's RunInstances: botocore has its model.

    Raises:
        Exception: Ray's, or ValueError.
    """
    unknown = config["provider"].keys() - SCHEMA["properties"]["provider"]["properties"].keys()
    if unknown:  # Ray's own validation lets them pass
        raise ValueError(f"provider: unknown {sorted(unknown)}")
    config = prepare_config(copy.deepcopy(config))
    types = config["available_node_types"]
    for each in types.values():
        each.setdefault("resources", {})  # `ray up` reads them off the instance type
    validate_config(config)
    if config["provider"]["type"] != "aws":
        return
    service = botocore.session.get_session().get_service_model("ec2")
    model = service.operation_model("RunInstances").input_shape
    for name, each in types.items():
        request = {**each["node_config"], "MinCount": 1, "MaxCount": 1}
        wrong = botocore.validate.ParamValidator().validate(request, model)
        if wrong.has_errors():
            raise ValueError(f"{name}: {wrong.generate_report()}")
        for needed in ("InstanceType", "ImageId", "IamInstanceProfile"):
            if needed not in each["node_config"]:
                raise ValueError(f"{name}: no {needed}")


@pytest.mark.parametrize("file", [AWS, ON_PREM], ids=lambda file: file.name)
def test_the_launcher_takes_the_file(file):
    check(read(file))


def at(*path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def found(config: dict[str, Any]) -> dict[str, Any]:
        for key in path:
            config = config[key]
        return config

    return found


SPOT = at("available_node_types", "gpu_spot")
SPOT_NODE = at("available_node_types", "gpu_spot", "node_config")


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        (at(), "max_wrokers", 4),
        (at(), "max_workers", "four"),
        (at(), "head_node_type", "haed"),
        (at("provider"), "regoin", "us-west-2"),
        (at("auth"), "ssh_usre", "ubuntu"),
        (SPOT, "min_worker", 1),
        (SPOT, "priority", "first"),
        (SPOT_NODE, "InstanceTyp", "g5.xlarge"),
        (SPOT_NODE, "InstanceMarketOptions", {"MarketTyp": "spot"}),
        (SPOT_NODE, "BlockDeviceMappings", [{"DeviceName": "/dev/sda1", "Ebs": {"Size": 150}}]),
        (SPOT_NODE, "IamInstanceProfile", "orrery-worker"),
    ],
)
def test_a_wrong_key_or_value_is_caught(where, key, value):
    config = read(AWS)
    where(config)[key] = value
    with pytest.raises(Exception, match=re.escape(key.split("_")[0])):
        check(config)


def test_node_types_of_their_own_are_refused_on_machines_that_are_there():
    config = read(ON_PREM)
    config["available_node_types"] = read(AWS)["available_node_types"]
    with pytest.raises(Exception, match="available_node_types"):
        check(config)


def test_the_head_takes_no_trials_and_gpu_nodes_go_when_they_are_idle():
    config = read(AWS)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in config["head_start_ray_commands"][1]
    workers = [each for name, each in types.items() if name != "head"]
    assert [each["min_workers"] for each in workers] == [0, 0]
    market = "InstanceMarketOptions"
    spot, on_demand = types["gpu_spot"], types["gpu_on_demand"]
    assert spot["node_config"][market] == {"MarketType": "spot"}
    assert market not in on_demand["node_config"]
    assert market not in types["head"]["node_config"]
    assert spot["priority"] > on_demand["priority"]


@pytest.mark.parametrize("file", [AWS, ON_PREM], ids=lambda file: file.name)
def test_what_is_mounted_is_all_that_a_trial_needs(file):
    """Every package that is installed, and what installing it reads."""
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^packages = \[(.*)\]$", project, re.MULTILINE)
    assert listed is not None
    packages = {name.split(".")[0] for name in re.findall(r'"([^"]+)"', listed[1])}
    mounts = read(file)["file_mounts"]
    sources = {Path(source) for source in mounts.values() if not source.startswith("~")}
    assert packages | {"pyproject.toml", "constraints.txt", "README.md"} == set(map(str, sources))
    assert all((ROOT / source).exists() for source in sources)


def test_the_two_files_set_the_machines_up_alike():
    def same(config: dict[str, Any]) -> list[str]:
        environment, *commands = config["setup_commands"]
        lines = [line for line in environment.splitlines() if "ORRERY_STORAGE" not in line]
        return [*lines, *commands, *config["worker_start_ray_commands"], *config["file_mounts"]]

    assert same(read(AWS)) == same(read(ON_PREM))


@mock_aws
def test_an_account_is_set_up_with_what_the_nodes_are_given(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    boto3.client("cloudformation").create_stack(
        StackName="orrery",
        TemplateBody=ACCOUNT.read_text(),
        Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "a-bucket"}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    assert [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]] == ["a-bucket"]
    iam = boto3.client("iam")
    profiles = {
        each["InstanceProfileName"]: each
        for each in iam.list_instance_profiles()["InstanceProfiles"]
    }
    types = read(AWS)["available_node_types"].values()
    assert {each["node_config"]["IamInstanceProfile"]["Name"] for each in types} == set(profiles)


def test_a_worker_may_use_the_bucket_and_nothing_else():
    class Template(yaml.SafeLoader):
        """YAML with CloudFormation's short forms, ``!Ref Name`` as ``{"Ref": "Name"}``."""

    Template.add_multi_constructor("!", lambda _, form, node: {form: node.value})
    resources = yaml.load(ACCOUNT.read_text(), Template)["Resources"]
    worker = resources["WorkerRole"]["Properties"]
    assert worker["ManagedPolicyArns"] == [{"Ref": "UseStorage"}]
    assert "Policies" not in worker
    statements = resources["UseStorage"]["Properties"]["PolicyDocument"]["Statement"]
    assert {s["Resource"]["Sub"].split("/")[0] for s in statements} == {"arn:aws:s3:::${Bucket}"}
