"""Which nodes a running study has."""

from collections import Counter
from dataclasses import replace

import pytest

from engine.on_ray import node_watcher, nodes
from engine.on_ray.node_watcher import NodeWatcher
from engine.on_ray.nodes import Node

HEAD = Node("head", "10.0.0.1", "a", cpus=0, gpus=0)
ONE = Node("one", "10.0.0.2", "b", cpus=8, gpus=2)
TWO = Node("two", "10.0.0.3", "c", cpus=8, gpus=2)


class Cluster:
    """Nodes that come and go, what is said of them, and a clock."""

    def __init__(self) -> None:
        self.there = [HEAD, ONE]
        self.said: list[str] = []
        self.worker_failures: Counter[int] = Counter()
        self.now = 0.0

    def watcher(self, many: bool = True) -> NodeWatcher:
        return NodeWatcher(
            lambda: 4 * (len(self.there) - 1), self.said.append, self.worker_failures, many
        )

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def cluster(monkeypatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(nodes, "alive", lambda: made.there)
    monkeypatch.setattr(node_watcher, "time", made)
    return made


def test_who_joined_and_who_left_is_said_once_and_changes_the_slots(cluster):
    watched = cluster.watcher()
    assert cluster.said == [
        "nodes: head (no trials), one (8 CPU, 2 GPU); room for 4 trials at once"
    ]
    cluster.there = [HEAD, ONE, TWO]
    watched.poll()
    assert watched.slots == 4  # it is not looked all the time
    cluster.now += node_watcher.POLL
    watched.poll()
    assert watched.slots == 8
    cluster.there = [HEAD, TWO]
    for _ in range(2):
        cluster.now += node_watcher.POLL
        watched.poll()
    assert cluster.said[1:] == ["node two (8 CPU, 2 GPU) joined", "node one is gone"]
    assert watched.slots == 4


def test_a_trial_out_of_reach_has_died_by_itself_only_if_its_node_is_still_there(cluster):
    watched = cluster.watcher()
    watched.lost(7, ONE.ip)
    cluster.now += node_watcher.NODE_IS_GONE_AFTER
    watched.poll()
    assert cluster.worker_failures == {}
    cluster.now += node_watcher.POLL
    watched.poll()
    assert cluster.worker_failures == {7: 1}


def test_a_node_that_was_started_again_at_the_same_address_is_another_one(cluster):
    watched = cluster.watcher()
    watched.lost(7, ONE.ip)
    watched.lost(8, None)
    cluster.there = [HEAD, replace(ONE, key="anew")]
    cluster.now += node_watcher.NODE_IS_GONE_AFTER + node_watcher.POLL
    watched.poll()
    assert cluster.worker_failures == {7: 0, 8: 0}
    watched.lost(8, None)
    cluster.now += node_watcher.NODE_IS_GONE_AFTER + node_watcher.POLL
    watched.poll()
    assert cluster.worker_failures[8] == 1, "nobody left: it died by itself"


def test_of_one_machine_there_is_nothing_to_say(cluster):
    watched = cluster.watcher(many=False)
    cluster.there = [HEAD, ONE, TWO]
    cluster.now += node_watcher.POLL
    watched.poll()
    assert cluster.said == []
