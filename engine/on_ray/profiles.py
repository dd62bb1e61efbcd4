"""The pre-flight on Ray: configurations are profiled in processes like those of trials."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from engine.forecast import taken
from engine.on_ray.answers import answer
from engine.on_ray.post_mortem import last_line
from trainables.config import TrialConfig
from trainables.problem import Problem
from trainables.profile import ProfileResult, profile


def side_by_side(
    configs: Sequence[TrialConfig], problem: ray.ObjectRef, cpus: int
) -> list[ProfileResult]:
    """Profiles configurations on the CPU, each in a process of its own, as many at once as there
    is room for; see `trainables.profile.profile`.

    Args:
        configs: What to try.
        problem: What trials learn from, in the object store.
        cpus: Cores of a trial.

    Raises:
        RayDied: If Ray, or a node, does not stay alive.
    """
    task = ray.remote(num_cpus=cpus, max_retries=0)(profile)
    under_way = [task.remote(config, problem, cpus, 0) for config in configs]
    return [_profiled(each) for each in under_way]


def one_by_one(
    configs: Sequence[TrialConfig],
    problem: ray.ObjectRef,
    cpus: int,
    gpus: float,
    notify: Callable[[str], None],
) -> list[ProfileResult]:
    """Profiles configurations on a GPU, one after the other in one process, as each process
    takes seconds to begin there. After one that fails, or dies, the next ones have a new process:
    an error of CUDA spoils the one in which it came.

    Args:
        configs: What to try.
        problem: What trials learn from, in the object store.
        cpus: Cores of a trial.
        gpus: GPUs of the process.
        notify: Where to say how far it is.

    Raises:
        RayDied: If Ray, or a node, does not stay alive.
    """
    process: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(_Profiler)
    running, done = None, []
    for config in configs:
        running = running or process.remote(problem, cpus, gpus)
        done.append(_profiled(running.profile.remote(config)))
        place = f"{len(done)} of {len(configs)}"
        notify(f"pre-flight {place}: an epoch of {config.title}: {taken(done[-1])}")
        if done[-1].problem:
            running = None  # which ends it
    return done


class _Profiler:
    """A process that profiles."""

    def __init__(self, problem: Problem[Any], cpus: int, gpus: float) -> None:
        self.problem, self.cpus, self.gpus = problem, cpus, gpus

    def profile(self, config: TrialConfig) -> ProfileResult:
        return profile(config, self.problem, self.cpus, self.gpus)


def _profiled(under_way: ray.ObjectRef) -> ProfileResult:
    try:
        return answer(under_way)
    except RayError as error:  # its process died, for want of memory most likely
        no_room = "running low on memory" in str(error)
        return ProfileResult(problem=last_line(str(error)), no_room=no_room)
