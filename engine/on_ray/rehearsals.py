"""The pre-flight on Ray: configurations are rehearsed in processes like those of trials."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, LocalRayletDiedError, NodeDiedError, RayError

from engine.forecast import taken
from engine.on_ray.cluster import RayDied
from engine.on_ray.post_mortem import NODE_DIED, last_line
from trainables.config import FitConfig
from trainables.rehearsal import Rehearsal, rehearse
from trainables.stepper import TaskFactory


def side_by_side(
    configs: Sequence[FitConfig], make_task: ray.ObjectRef, cpus: int
) -> list[Rehearsal]:
    """Rehearses configurations on the CPU, each in a process of its own, as many at once as there
    is room for; see `rehearse`.

    Args:
        configs: What to try.
        make_task: A `TaskFactory` in the object store.
        cpus: Cores of a trial.

    Raises:
        RayDied: If Ray, or a node, does not stay alive.
    """
    task = ray.remote(num_cpus=cpus, max_retries=0)(rehearse)
    under_way = [task.remote(config, make_task, cpus, 0) for config in configs]
    return [_rehearsed(each) for each in under_way]


def one_by_one(
    configs: Sequence[FitConfig],
    make_task: ray.ObjectRef,
    cpus: int,
    gpus: float,
    say: Callable[[str], None],
) -> list[Rehearsal]:
    """Rehearses configurations on a GPU, one after the other in one process, as each process
    takes seconds to begin there. After one that fails, or dies, the next ones have a new process:
    an error of CUDA spoils the one in which it came.

    Args:
        configs: What to try.
        make_task: A `TaskFactory` in the object store.
        cpus: Cores of a trial.
        gpus: GPUs of the process.
        say: Where to say how far it is.

    Raises:
        RayDied: If Ray, or a node, does not stay alive.
    """
    process: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(_Rehearser)
    running, done = None, []
    for config in configs:
        running = running or process.remote(make_task, cpus, gpus)
        done.append(_rehearsed(running.rehearse.remote(config)))
        place = f"{len(done)} of {len(configs)}"
        say(f"pre-flight {place}: an epoch of {config.title}: {taken(done[-1])}")
        if done[-1].problem:
            running = None  # which ends it
    return done


class _Rehearser:
    """A process that rehearses."""

    def __init__(self, make_task: TaskFactory, cpus: int, gpus: float) -> None:
        self.make_task, self.cpus, self.gpus = make_task, cpus, gpus

    def rehearse(self, config: FitConfig) -> Rehearsal:
        return rehearse(config, self.make_task, self.cpus, self.gpus)


def _rehearsed(under_way: ray.ObjectRef) -> Rehearsal:
    try:
        return ray.get(under_way)
    except LocalRayletDiedError as error:
        raise RayDied("Ray died") from error
    except (NodeDiedError, ActorUnavailableError) as error:
        raise RayDied("a node was lost") from error
    except RayError as error:  # its process died, for want of memory most likely
        if NODE_DIED in str(error):
            raise RayDied("a node was lost") from error
        no_room = "running low on memory" in str(error)
        return Rehearsal(problem=last_line(str(error)), no_room=no_room)
