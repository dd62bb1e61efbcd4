"""The nodes of a Ray cluster: those that are alive, their resources, and those it can grow by."""

import os
from collections.abc import Callable, Iterator, Sequence
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
"""File on the head node in which Ray's cluster launcher stores the cluster's configuration.

`Path.expanduser` would raise for a user without a home folder.
"""

PATIENCE = 60.0
"""Timeout in seconds for a node to answer; a new node has to start a process first."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, or a node type that the cluster can add.

    Attributes:
        name: Host name, or name of the node type.
        ip: IP address in the cluster; empty for a node type.
        key: Ray's node id; empty for a node type.
        cpus: Number of CPU cores that trials may use.
        gpus: Number of GPUs that trials may use.
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
        """Returns how many trials fit on the node at the same time.

        Args:
            cpus: CPU cores of a trial.
            gpus: GPUs of a trial, 0 to 1.
        """
        by_cpus = self.cpus // cpus
        if gpus == 0:
            return int(by_cpus)
        return int(min(by_cpus, self.gpus * trials_a_gpu(gpus)))


def alive() -> list[Node]:
    """Returns the nodes that are alive, sorted by name."""
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
    """Returns the worker nodes that the cluster can have at most, one entry per node.

    The list is empty if this is unknown: on a single machine, on a cluster of existing machines,
    and if the driver does not run on the head node.
    """
    config, kinds = _launched(), []
    for name, kind in config.get("available_node_types", {}).items():
        if name != config.get("head_node_type"):
            has = kind.get("resources", {})
            node = Node(name, "", "", has.get("CPU", 0), has.get("GPU", 0))
            kinds += [node] * min(kind.get("max_workers", most_workers()), most_workers())
    return kinds


def most_workers() -> int:
    """Returns the maximum number of nodes besides the head node; 0 if it is unknown."""
    return _launched().get("max_workers", 0)


def _launched() -> dict[str, Any]:
    return yaml.safe_load(LAUNCHED.read_text(encoding="utf-8")) if LAUNCHED.is_file() else {}


def together(there: Sequence[Node], cpus: float, gpus: float, workers: int = 0) -> int:
    """Returns how many trials fit on some nodes at the same time.

    Args:
        there: The nodes.
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial, 0 to 1.
        workers: Workers of a trial, of a core each, which may be on other nodes.
    """
    cores = sum(int(node.cpus) for node in there)
    return int(min(sum(node.capacity(cpus, gpus) for node in there), cores // (cpus + workers)))


def slots(cpus: float, gpus: float, workers: int = 0) -> int:
    """Returns how many trials can run at the same time.

    This is the number on the nodes that are alive, or on the largest worker nodes that the cluster
    can grow to, whichever is greater.

    Args:
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial, 0 to 1.
        workers: Workers of a trial, of a core each, which may be on other nodes.
    """
    kinds = sorted(to_come(), key=lambda kind: kind.capacity(cpus, gpus), reverse=True)
    there = (alive(), kinds[: most_workers()])
    return max(together(each, cpus, gpus, workers) for each in there)


def cores_a_gpu() -> float:
    """Returns the maximum, over all nodes, of CPU cores per GPU; 0 without GPUs.

    A node with fewer cores per GPU runs as many trials as it has cores for.
    """
    nodes = (*alive(), *to_come())
    return max((node.cpus / node.gpus for node in nodes if node.gpus), default=0.0)


def check_room(cpus: float, gpus: float, workers: int = 0) -> None:
    """Checks that a trial fits on nodes that are alive or that the cluster can add.

    Args:
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial, 0 to 1.
        workers: Workers of a trial, of a core each, which may be on other nodes.

    Raises:
        InputError: If the trial fits on no node, or not with its workers.
    """
    there = (*alive(), *to_come())
    known = ", ".join(sorted({str(node) for node in there}))
    if not together(there, cpus, gpus):
        raise InputError(
            f"no node holds a trial of {cpus:g} CPU and {gpus:g} GPU: there are, or can be, "
            f"{known}; lower --cpus-per-trial or --gpus-per-trial"
        )
    if not together(there, cpus, gpus, workers):
        raise InputError(
            f"no nodes hold a trial of {cpus:g} CPU and {workers} workers of a CPU each: there "
            f"are, or can be, {known}; lower --workers-per-trial"
        )


def largest(cpus: float, gpus: float) -> Node:
    """Returns the largest node on which a trial fits, by GPUs if it needs any, then by CPU cores.

    If the trial fits on no node that is alive, this is the largest node that the cluster can add.

    Args:
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial, 0 to 1.

    Raises:
        InputError: If there is no such node, and none can be added.
    """
    now = [node for node in alive() if node.capacity(cpus, gpus)]
    there = now or to_come()
    if not there:
        raise InputError(f"no node is left that holds a trial of {cpus:g} CPU and {gpus:g} GPU")
    return max(there, key=lambda node: (node.gpus if gpus else 0, node.cpus))


def on_each(function: Callable[..., Result], *arguments: Any) -> Iterator[tuple[Node, Result]]:
    """Runs a function on each node, without reserving resources, and yields its results.

    Raises:
        InputError: If a node does not answer, or cannot run the function.
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
    """Runs a function on the node with this IP address and returns its result.

    Returns None if the node does not answer or the function fails.
    """
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
