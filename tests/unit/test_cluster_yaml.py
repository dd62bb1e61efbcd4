"""The files that Ray's cluster launcher reads: valid, and of one mind with the project."""

import copy
import json
import re
import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import chain, product
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
from ray.autoscaler._private.aws import config as aws_config
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
    """Every package and module that is installed, and what installing them reads."""
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.split(".")[0] for name in installed["packages"]}
    packages |= {f"{name}.py" for name in installed["py-modules"]}
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


HOME = "203.0.113.7/32"


@pytest.fixture
def group(monkeypatch):
    """The security group of an account that was set up from the address `HOME`."""
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
        parameters = {"Bucket": "a-bucket", "Address": HOME}
        formation = boto3.client("cloudformation")
        formation.create_stack(
            StackName="orrery",
            TemplateBody=ACCOUNT.read_text(),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        (stack,) = formation.describe_stacks(StackName="orrery")["Stacks"]
        (output,) = stack["Outputs"]
        yield output["OutputValue"]


def test_an_account_is_set_up_with_what_the_nodes_are_given(group):
    assert [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]] == ["a-bucket"]
    iam = boto3.client("iam")
    profiles = {
        each["InstanceProfileName"]: each
        for each in iam.list_instance_profiles()["InstanceProfiles"]
    }
    types = read(AWS)["available_node_types"].values()
    assert {each["node_config"]["IamInstanceProfile"]["Name"] for each in types} == set(profiles)


def test_ssh_is_admitted_from_the_user_s_address_and_nothing_else_from_outside(group):
    """As Ray's launcher configures the network, by a group of its own where none is named."""
    config = prepare_config(read(AWS))
    for each in config["available_node_types"].values():
        assert each["node_config"]["SecurityGroupIds"] == ["sg-YOUR-GROUP"]
        each["node_config"]["SecurityGroupIds"] = [group]
    configured = aws_config._configure_security_group(aws_config._configure_subnet(config))
    nodes = configured["available_node_types"].values()
    assert {*chain(*(each["node_config"]["SecurityGroupIds"] for each in nodes))} == {group}
    assert all(each["node_config"]["SubnetIds"] for each in nodes)
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    ssh, within = sorted(found["IpPermissions"], key=lambda each: -each.get("FromPort", -1))
    assert (ssh["IpProtocol"], ssh["FromPort"], ssh["ToPort"]) == ("tcp", 22, 22)
    assert [each["CidrIp"] for each in ssh["IpRanges"]] == [HOME]
    assert within["IpProtocol"] == "-1"
    assert [each["GroupId"] for each in within["UserIdGroupPairs"]] == [group]
    assert not (within["IpRanges"] or within["Ipv6Ranges"] or ssh["UserIdGroupPairs"])


@mock_aws
def test_a_group_that_is_not_there_is_refused_by_the_launcher(monkeypatch, capfd):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with pytest.raises(AssertionError):
        aws_config._configure_subnet(prepare_config(read(AWS)))
    assert "Failed to detect a security group" in capfd.readouterr().err


def test_the_lines_to_be_edited_are_as_many_as_is_said():
    lines = [line for line in AWS.read_text().splitlines() if "<<<" in line]
    said, *edited = lines
    assert "To be edited: the four lines" in said
    parts = ("max_workers", "region", "SecurityGroupIds", "ORRERY_STORAGE")
    assert all(part in line for part, line in zip(parts, edited, strict=True))


class Template(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, ``!Ref Name`` as ``{"Ref": "Name"}``."""


Template.add_multi_constructor("!", lambda _, form, node: {form: node.value})
TEMPLATE = yaml.load(ACCOUNT.read_text(), Template)
RESOURCES = {name: each.get("Properties") for name, each in TEMPLATE["Resources"].items()}
BUCKET = "arn:aws:s3:::${Bucket}"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(role: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """What a role may do: action -> resources, each with its conditions."""
    policies = [RESOURCES[each["Ref"]] for each in RESOURCES[role]["ManagedPolicyArns"]]
    policies += RESOURCES[role].get("Policies", [])
    may: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for statement in chain(*(policy["PolicyDocument"]["Statement"] for policy in policies)):
        assert statement["Effect"] == "Allow"
        for action, resource in product(
            listed(statement["Action"]), listed(statement["Resource"])
        ):
            name = resource if isinstance(resource, str) else next(iter(resource.values()))
            may.setdefault(action, []).append((name, statement.get("Condition", {})))
    return may


def admits(may: dict[str, list[tuple[str, dict[str, Any]]]], action: str, key: str) -> bool:
    """Whether an object of the bucket, by its key, is among an action's resources."""
    found = [name for name, _ in may.get(action, ())]
    return any(fnmatchcase(f"{BUCKET}/{key}", name.replace("[", "[[]")) for name in found)


STATE = "studies/s/trials/session-0001/trial-00003/checkpoint_000001/state.pt"


def test_a_worker_may_read_the_bucket_and_write_checkpoints_and_nothing_else():
    may = allowed("WorkerRole")
    assert {action.split(":")[0] for action in may} == {"s3"}
    assert all(name.split("/")[0] == BUCKET for found in may.values() for name, _ in found)
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert admits(may, action, f"orrery/{STATE}")
        assert admits(may, action, STATE)  # a storage without a folder
        for key in ("studies/s/ledger/trial-00001.parquet", "data/gfn2.parquet", "mlflow/1/a"):
            assert admits(may, "s3:GetObject", f"orrery/{key}")
            assert not admits(may, action, f"orrery/{key}")
    assert admits(may, "s3:PutObject", "orrery/studies/")  # stands for a folder
    assert not admits(may, "s3:DeleteObject", "orrery/studies/")


@pytest.mark.parametrize("role", ["WorkerRole", "HeadRole"])
def test_what_is_removed_from_the_bucket_can_be_restored(role):
    assert RESOURCES["Storage"]["VersioningConfiguration"] == {"Status": "Enabled"}
    kept = RESOURCES["Storage"]["LifecycleConfiguration"]["Rules"][1]
    assert kept["NoncurrentVersionExpiration"]["NoncurrentDays"] >= 7
    actions = {action for action in allowed(role) if action.startswith("s3:")}
    assert actions <= {
        "s3:ListBucket",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
    }


def test_the_head_may_start_and_end_instances_with_the_project_s_tag_only():
    role = RESOURCES["HeadRole"]
    assert all("Ref" in each for each in role["ManagedPolicyArns"]), "none of AWS's own"
    may = allowed("HeadRole")
    tag = {key: {"StringEquals": {f"aws:{key}/project": "orrery"}} for key in TAGGED}
    started = [c for name, c in may["ec2:RunInstances"] if name.endswith(":instance/*")]
    assert started == [tag["RequestTag"]]
    for action in ("ec2:TerminateInstances", "ec2:StartInstances", "ec2:StopInstances"):
        assert [condition for _, condition in may[action]] == [tag["ResourceTag"]]
    assert tag["ResourceTag"] in [condition for _, condition in may["ec2:CreateTags"]]
    assert all(condition for _, condition in may["ec2:CreateTags"])
    everywhere = {action for action, found in may.items() if ("*", {}) in found}
    assert everywhere == {"ec2:Describe*", "iam:GetInstanceProfile"}
    assert [name for name, _ in may["iam:PassRole"]] == ["WorkerRole.Arn"]


TAGGED = ("RequestTag", "ResourceTag")


def test_every_instance_has_the_tag_that_the_head_is_held_to():
    for each in read(AWS)["available_node_types"].values():
        (specification,) = each["node_config"]["TagSpecifications"]
        assert specification["ResourceType"] == "instance"
        assert {"Key": "project", "Value": "orrery"} in specification["Tags"]


@pytest.mark.parametrize("address", ["203.0.113.7/32", "10.0.0.0/8"])
def test_an_address_with_the_bits_that_count_is_taken(address):
    assert re.fullmatch(TEMPLATE["Parameters"]["Address"]["AllowedPattern"], address)


@pytest.mark.parametrize("address", ["0.0.0.0/0", "203.0.113.7", "YOUR-ADDRESS/32", "::/0"])
def test_the_whole_world_is_no_address(address):
    assert not re.fullmatch(TEMPLATE["Parameters"]["Address"]["AllowedPattern"], address)
