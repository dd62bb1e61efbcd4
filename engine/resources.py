"""What a study's trials run on: this process, Ray on this machine, or a cluster."""

from contextlib import AbstractContextManager, nullcontext

from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from engine.backend import Backend
from engine.command import Command
from engine.display import with_progress
from engine.gpu_share import first_share, trials_a_gpu, usable_gpus
from trainables.stepper import TaskFactory

NO_USE = "--mps is of no use here: no two trials share a GPU"


def gpus_of_a_trial(command: Command) -> float:
    """GPUs of each trial, as far as they are known now, once it is known that there is room for
    one.

    Raises:
        InputError: If there is none.
    """
    return _on_a_cluster(command) if command.is_on_cluster else _on_this_machine(command)


def _on_this_machine(command: Command) -> float:
    options = command.options
    if options.cpus_per_trial > (there := cores()):
        raise InputError(
            f"--cpus-per-trial {options.cpus_per_trial}: expected at most {there}, "
            "the cores that this process may use"
        )
    if not options.local:
        from engine.on_ray.cluster import check_sockets

        check_sockets()
    there = usable_gpus(command.say) if options.gpus_per_trial else 0
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
    from engine.on_ray.shared_storage import check_nodes

    start(options.cluster)
    check_nodes(command.storage)
    most = max((node.gpus for node in (*nodes.alive(), *nodes.to_come())), default=0)
    gpus = first_share(options.gpus_per_trial, int(most), "a node has at most")
    nodes.check_room(options.cpus_per_trial, gpus)
    if not any(node.holds(options.cpus_per_trial, gpus) for node in nodes.alive()):
        command.say("no node holds a trial yet; the cluster starts some, which takes minutes")
    return gpus


def backend_of(command: Command, make_task: TaskFactory, gpus: float) -> Backend:
    """What runs the trials."""
    if command.options.local:
        from engine.local_backend import LocalBackend as Chosen
    else:
        from engine.on_ray.backend import RayBackend as Chosen
    return Chosen(make_task, command.options, gpus)


def parallel_map(command: Command) -> ParallelMap:
    """What prepares the data, with a progress bar."""
    if command.options.local:
        return with_progress(map, command.console)
    from engine.on_ray.cluster import ray_map

    return with_progress(ray_map(command.options.cluster), command.console)


def mps_of(command: Command, gpus: float) -> AbstractContextManager[None]:
    """NVIDIA's MPS, where it was asked for and trials may share a GPU."""
    if not command.options.mps:
        return nullcontext()
    may_share = command.options.gpus_per_trial == "auto" or trials_a_gpu(gpus) > 1
    if command.options.local or not (gpus and may_share):
        command.say(NO_USE)
        return nullcontext()
    from engine.mps import mps
    from engine.on_ray.cluster import stop

    return mps(command.say, stop)


class Sharing:
    """Decides, once, how many trials share a GPU, if the user did not.

    Args:
        command: As it was typed.
        backend: What runs the trials.
        gpus: See `gpus_of_a_trial`.
    """

    def __init__(self, command: Command, backend: Backend, gpus: float) -> None:
        self.command = command
        self.backend = backend
        self.is_open = command.options.gpus_per_trial == "auto" and gpus > 0

    def decide(self, needed_gib: float | None) -> None:
        """Decides it.

        Args:
            needed_gib: What a trial takes of a GPU at most; None: not measured.
        """
        if not self.is_open:
            return
        self.is_open = False
        share = self.backend.share_gpus(needed_gib)
        if share is None:
            return
        self.command.say(share.text())
        if self.command.options.mps and share.trials == 1:
            self.command.say(NO_USE)
