"""Selects what a study's trials run on: this process, Ray on this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from engine.backend import Backend
from engine.command import Command
from engine.display import with_progress
from engine.gpu_share import first_share, trials_a_gpu, usable_gpus
from engine.place import is_new
from trainables.problem import Problem

NO_USE = "--mps is of no use here: no two trials share a GPU"


class Resources:
    """The resources of a study's trials.

    Args:
        command: The study and its command line.
        gpus: GPUs of each trial, before the pre-flight has decided how many trials share one.
        leave: Stops Ray, if it runs for this study alone, without waiting for that.

    Attributes:
        is_open: True while it is still to be decided how many trials share a GPU.
    """

    def __init__(
        self, command: Command, gpus: float, leave: Callable[[], None] = lambda: None
    ) -> None:
        self.command = command
        self.gpus = gpus
        self.leave = leave
        self.is_open = command.options.gpus_per_trial == "auto" and gpus > 0

    @cached_property
    def parallel(self) -> ParallelMap:
        """Parallel map that prepares the data and shows a progress bar."""
        if self.command.options.local:
            return with_progress(map, self.command.console)
        from engine.on_ray.cluster import ray_map

        return with_progress(ray_map(self.command.options.cluster), self.command.console)

    def backend(self, problem: Problem[Any]) -> Backend:
        """Returns the backend that runs the trials.

        Args:
            problem: Data and task that the trials learn from.
        """
        if self.command.options.local:
            from engine.local_backend import LocalBackend as Chosen
        else:
            from engine.on_ray.backend import RayBackend as Chosen
        return Chosen(problem, self.command.options, self.gpus)

    def share(self, backend: Backend, needed_gib: float | None) -> None:
        """Decides how many trials share a GPU, unless the user set it; only the first call counts.

        Args:
            backend: Backend that runs the trials.
            needed_gib: Maximum GPU memory of a trial, in GiB; None if it was not measured.
        """
        if not self.is_open:
            return
        self.is_open = False
        share = backend.share_gpus(needed_gib)
        if share is None:
            return
        self.command.notify(share.text())
        if self.command.options.mps and share.trials == 1:
            self.command.notify(NO_USE)


@contextmanager
def resources_of(command: Command) -> Iterator[Resources]:
    """Yields the resources of a study's trials, after checking that at least one trial fits.

    Runs NVIDIA's MPS for the duration of the context if ``--mps`` was given, and Ray on this
    machine, which a new study needs soon and finds started.

    Raises:
        InputError: If no trial fits, or the cluster cannot be used.
    """
    gpus = _on_a_cluster(command) if command.is_on_cluster else _on_this_machine(command)
    with _mps_of(command, gpus), _ray_of(command) as leave:
        yield Resources(command, gpus, leave)


def _on_this_machine(command: Command) -> float:
    options = command.options
    if options.cpus_per_trial > (there := cores()):
        raise InputError(
            f"--cpus-per-trial {options.cpus_per_trial}: expected at most {there}, "
            "the cores that this process may use"
        )
    if options.workers_per_trial > (there := there - options.cpus_per_trial):
        raise InputError(
            f"--workers-per-trial {options.workers_per_trial}: expected at most {there}, the "
            "cores that this process may use besides --cpus-per-trial"
        )
    if not options.local:
        from engine.on_ray.cluster import check_sockets

        check_sockets()
    there = usable_gpus(command.notify) if options.gpus_per_trial else 0
    return first_share(options.gpus_per_trial, there, "this machine has")


def _on_a_cluster(command: Command) -> float:
    options = command.options
    if options.mps:
        raise InputError(
            "--mps starts NVIDIA's MPS on this machine only: on a cluster its nodes start it, "
            "docs/cluster.md says how"
        )
    from engine.on_ray import nodes
    from engine.on_ray.cluster import start
    from engine.on_ray.own_files import travel
    from engine.on_ray.shared_storage import check_nodes

    start(options.cluster)
    travel(command.study.file)
    check_nodes(command.storage)
    most = max((node.gpus for node in (*nodes.alive(), *nodes.to_come())), default=0)
    gpus = first_share(options.gpus_per_trial, int(most), "a node has at most")
    needs = options.cpus_per_trial, gpus, options.workers_per_trial
    nodes.check_room(*needs)
    if not nodes.together(nodes.alive(), *needs):
        command.notify("no node holds a trial yet; the cluster starts some, which takes minutes")
    return gpus


def _mps_of(command: Command, gpus: float) -> AbstractContextManager[None]:
    """Returns a context that runs NVIDIA's MPS, if requested and if trials may share a GPU."""
    if not command.options.mps:
        return nullcontext()
    may_share = command.options.gpus_per_trial == "auto" or trials_a_gpu(gpus) > 1
    if command.options.local or not (gpus and may_share):
        command.notify(NO_USE)
        return nullcontext()
    from engine.mps import mps
    from engine.on_ray.cluster import stop

    return mps(command.notify, stop)


def _ray_of(command: Command) -> AbstractContextManager[Callable[[], None]]:
    """Returns a context that ends Ray on this machine, and for a new study begins it at once."""
    if command.options.local or command.is_on_cluster:
        return nullcontext(lambda: None)
    from engine.on_ray.cluster import own_ray

    return own_ray(early=is_new(command))
