"""What a cluster holds, now and when it has grown."""

from dataclasses import replace

import pytest
import yaml
from places import ROOT

from datasets.errors import InputError
from engine.on_ray import nodes
from engine.on_ray.nodes import Node

HEAD = Node("head", "10.0.0.1", "a", cpus=0, gpus=0)
WORKER = Node("one", "10.0.0.2", "b", cpus=8, gpus=2)


@pytest.fixture
def aws(tmp_path, monkeypatch) -> None:
    """The head of cluster.yaml's cluster, alone; `ray up` has written what a g5.xlarge has."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for name in ("gpu_spot", "gpu_on_demand"):
        config["available_node_types"][name]["resources"] = {"CPU": 4, "GPU": 1}
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(nodes, "LAUNCHED", file)
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD])


@pytest.mark.parametrize(
    ("cpus", "gpus", "trials"),
    [(1, 0, 8), (3, 0, 2), (1, 1, 2), (1, 0.5, 4), (1, 0.3, 6), (1, 0.1, 8), (5, 1, 1), (9, 0, 0)],
)
def test_a_node_holds_as_many_trials_as_have_cores_and_a_share_of_one_gpu(cpus, gpus, trials):
    assert WORKER.capacity(cpus, gpus) == trials


@pytest.mark.parametrize("share", [2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_a_gpu_is_shared_by_as_many_as_its_parts_say(share):
    """1 // 0.2 is 4. Ray rounds to four digits: six times 0.1667 is too much for one."""
    one = Node("one", "10.0.0.2", "b", cpus=64, gpus=1)
    assert one.capacity(1, 10_000 // share / 10_000) == share


def test_a_head_without_trials_holds_none():
    assert HEAD.capacity(1, 0) == 0


def test_a_cluster_that_can_grow_has_room_for_what_it_can_grow_to(aws):
    """Four nodes at most, although six of the two kinds together."""
    assert nodes.slots(cpus=1, gpus=1) == 4
    assert nodes.slots(cpus=1, gpus=0.25) == 16
    assert nodes.slots(cpus=1, gpus=0) == 16


def test_the_kind_of_node_with_the_most_cores_for_a_gpu_counts(aws, monkeypatch):
    """A kind to come as well as a node that is there: a head without trials, four cores for a GPU
    on AWS, and here four for each of two."""
    assert nodes.cores_a_gpu() == 4
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD, WORKER, replace(WORKER, cpus=64)])
    assert nodes.cores_a_gpu() == 32
    monkeypatch.setattr(nodes, "to_come", list)
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD, replace(WORKER, gpus=0)])
    assert nodes.cores_a_gpu() == 0


def test_nodes_that_are_there_count_where_nothing_is_known_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "LAUNCHED", tmp_path / "absent.yaml")
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD, WORKER])
    assert nodes.slots(cpus=2, gpus=0) == 4
    assert nodes.to_come() == []


def test_a_trial_that_fits_on_no_kind_of_node_is_refused_with_what_there_is(aws):
    nodes.check_room(cpus=4, gpus=1)
    with pytest.raises(InputError, match=r"2 GPU: .* gpu_spot \(4 CPU, 1 GPU\)"):
        nodes.check_room(cpus=1, gpus=2)


def test_workers_of_a_trial_may_be_on_other_nodes(aws, monkeypatch):
    monkeypatch.setattr(nodes, "to_come", list)
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD, WORKER, replace(WORKER, cpus=3, gpus=0)])
    assert nodes.slots(cpus=2, gpus=0) == 5
    assert nodes.slots(cpus=2, gpus=0, workers=2) == 2
    assert nodes.slots(cpus=2, gpus=0, workers=9) == 1
    assert nodes.slots(cpus=2, gpus=1, workers=1) == 2
    nodes.check_room(cpus=2, gpus=1, workers=9)
    with pytest.raises(InputError, match="no nodes hold a trial of 2 CPU and 10 workers of a"):
        nodes.check_room(cpus=2, gpus=0, workers=10)
