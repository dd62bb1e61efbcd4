"""The nodes of a Ray cluster: which there are, what they have, and what it can grow to."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
import yaml
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datasets.errors import InputError
from engine.gpu_share import trials_a_gpu

Result = TypeVar("Result")

LAUNCHED = Path(os.path.expanduser("~/ray_bootstrap_config.yaml"))  # noqa: PTH111
"""Where Ray's cluster launcher leaves, on the head, what it was asked for. `Path.expanduser` would
raise where the user has no home folder."""

PATIENCE = 60.0
"""Seconds that a node may take to answer; a new one starts a process first."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, or a kind of which it can have some.

    Attributes:
        name: Of the host, or of the kind.
        ip: Its address in the cluster; empty for a kind.
        key: Ray's id of it; empty for a kind.
        cpus: Cores that trials may use.
        gpus: GPUs that trials may use.
    """

    name: str
    ip: str
    key: str
    cpus: float
    gpus: float

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPU" if self.gpus else ""
        has = f"{self.cpus:g} CPU{gpus}" if self.cpus or self.gpus else "no trials"
        return f"{self.name} ({has})"

    def capacity(self, cpus: float, gpus: float) -> int:
        """How many trials of so many cores and such a share of a GPU fit on it at once."""
        by_cpus = self.cpus // cpus
        if gpus == 0:
            return int(by_cpus)
        return int(min(by_cpus, self.gpus * trials_a_gpu(gpus)))


def alive() -> list[Node]:
    """The nodes that there are now, by name."""
    found = [
        Node(
            name=node["NodeManagerHostname"],
            ip=node["NodeManagerAddress"],
            key=node["NodeID"],
            cpus=node["Resources"].get("CPU", 0),
            gpus=node["Resources"].get("GPU", 0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: (node.name, node.key))


def to_come() -> list[Node]:
    """The kinds of node that the cluster can grow by, one entry for each it may have at most.

    Empty where nothing is known of that: on one machine, on machines that are there already, and
    from a driver that does not run on the head.
    """
    config, kinds = _launched(), []
    for name, kind in config.get("available_node_types", {}).items():
        if name != config.get("head_node_type"):
            has = kind.get("resources", {})
            node = Node(name, "", "", has.get("CPU", 0), has.get("GPU", 0))
            kinds += [node] * min(kind.get("max_workers", most_workers()), most_workers())
    return kinds


def most_workers() -> int:
    """Nodes beside the head that the cluster can grow to; 0 where that is not known."""
    return _launched().get("max_workers", 0)


def _launched() -> dict[str, Any]:
    return yaml.safe_load(LAUNCHED.read_text(encoding="utf-8")) if LAUNCHED.is_file() else {}


def slots(cpus: float, gpus: float) -> int:
    """How many trials run at once: on the nodes that there are, or on as many of the best kinds as
    the cluster can grow to, if these are more."""
    now = sum(node.capacity(cpus, gpus) for node in alive())
    kinds = sorted((kind.capacity(cpus, gpus) for kind in to_come()), reverse=True)
    return max(now, sum(kinds[: most_workers()]))


def cores_a_gpu() -> float:
    """Cores for each GPU, on the kind of node that has the most of them; a node with fewer runs
    as many trials as it has cores for. 0 without GPUs."""
    nodes = (*alive(), *to_come())
    return max((node.cpus / node.gpus for node in nodes if node.gpus), default=0.0)


def check_room(cpus: float, gpus: float) -> None:
    """Checks that a trial of so many cores and GPUs fits on a node, or on one to come.

    Raises:
        InputError: If it does not.
    """
    there = (*alive(), *to_come())
    if not any(node.capacity(cpus, gpus) for node in there):
        known = sorted({str(node) for node in there})
        raise InputError(
            f"no node holds a trial of {cpus:g} CPU and {gpus:g} GPU: there are, or can be, "
            f"{', '.join(known)}; lower --cpus-per-trial or --gpus-per-trial"
        )


def largest(cpus: float, gpus: float) -> Node:
    """Of the nodes that hold a trial, or of those to come if none does, the one with the most
    cores; where GPUs are wanted, of those with the most of these.

    Raises:
        InputError: If there is none, and none to come.
    """
    now = [node for node in alive() if node.capacity(cpus, gpus)]
    there = now or to_come()
    if not there:
        raise InputError(f"no node is left that holds a trial of {cpus:g} CPU and {gpus:g} GPU")
    return max(there, key=lambda node: (node.gpus if gpus else 0, node.cpus))


def on_each(function: Callable[..., Result], *arguments: Any) -> Iterator[tuple[Node, Result]]:
    """What a function returns on each node, whatever else runs there.

    Raises:
        InputError: If a node does not answer, or cannot run it.
    """
    asked = [(node, _ask(node, function, *arguments)) for node in alive()]
    for node, answer in asked:
        try:
            yield node, ray.get(answer, timeout=PATIENCE)
        except GetTimeoutError as error:
            raise InputError(
                f"the node {node.name} does not answer within {PATIENCE:.0f} s: start the study "
                "again once it does, or leave it out"
            ) from error
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"the node {node.name} cannot run what a trial needs ({reason}): set it up as the "
                "driver's, or leave it out"
            ) from error


def on_ip(ip: str, function: Callable[..., Result], *arguments: Any) -> Result | None:
    """What a function returns on one node; None if the node does not answer."""
    node = next((node for node in alive() if node.ip == ip), None)
    if node is None:
        return None
    try:
        return ray.get(_ask(node, function, *arguments), timeout=PATIENCE)
    except RayError:
        return None


def _ask(node: Node, function: Callable[..., Any], *arguments: Any) -> ray.ObjectRef:
    here = NodeAffinitySchedulingStrategy(node.key, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    return task.options(scheduling_strategy=here).remote(*arguments)
