"""The pre-flight on Ray, which profiles configurations in processes like those of trials."""

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
    configs: Sequence[TrialConfig], problem: ray.ObjectRef, cpus: int, workers: int
) -> list[ProfileResult]:
    """Profiles configurations on the CPU in parallel, each in a Ray task of its own.

    The last ones begin first: the largest take the longest, and no core is to wait for them.

    Args:
        configs: Configurations to profile, smallest first.
        problem: Reference to the problem in Ray's object store.
        cpus: CPU cores of a trial.
        workers: Further processes of a trial, which are counted but not started.

    Raises:
        RayDied: If Ray or a node was lost.
    """
    task: Any = ray.remote(num_cpus=cpus, max_retries=0)(profile)
    under_way = [task.remote(config, problem, cpus, 0, workers) for config in reversed(configs)]
    return [_profiled(each) for each in reversed(under_way)]


def one_by_one(
    configs: Sequence[TrialConfig],
    problem: ray.ObjectRef,
    cpus: int,
    gpus: float,
    workers: int,
    notify: Callable[[str], None],
) -> list[ProfileResult]:
    """Profiles configurations on a GPU, one after the other in one process.

    One process is used because each takes seconds to start. After a failure or crash a new process
    is started, because a CUDA error makes the old one unusable.

    Args:
        configs: Configurations to profile.
        problem: Reference to the problem in Ray's object store.
        cpus: CPU cores of a trial.
        gpus: GPUs of the process.
        workers: Further processes of a trial, which are counted but not started.
        notify: Prints the progress.

    Raises:
        RayDied: If Ray or a node was lost.
    """
    process: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(_Profiler)
    running, done = None, []
    for config in configs:
        running = running or process.remote(problem, cpus, gpus, workers)
        done.append(_profiled(running.profile.remote(config)))
        place = f"{len(done)} of {len(configs)}"
        notify(f"pre-flight {place}: an epoch of {config.title}: {taken(done[-1])}")
        if done[-1].problem:
            running = None  # dropping the handle ends the process
    return done


class _Profiler:
    """Ray actor that profiles configurations."""

    def __init__(self, problem: Problem[Any], cpus: int, gpus: float, workers: int) -> None:
        self.problem, self.cpus, self.gpus, self.workers = problem, cpus, gpus, workers

    def profile(self, config: TrialConfig) -> ProfileResult:
        return profile(config, self.problem, self.cpus, self.gpus, self.workers)


def _profiled(under_way: ray.ObjectRef) -> ProfileResult:
    try:
        return answer(under_way)
    except RayError as error:  # its process crashed, most likely out of memory
        no_room = "running low on memory" in str(error)
        return ProfileResult(problem=last_line(str(error)), no_room=no_room)
