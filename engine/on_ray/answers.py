"""Fetches results of Ray tasks, which may be lost together with their node."""

from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    RayError,
    RayTaskError,
)

from engine.on_ray.cluster import RayDied
from engine.on_ray.post_mortem import NODE_DIED, last_line
from record.outcomes import Outcomes


def answer(under_way: ray.ObjectRef) -> Any:
    """Waits for the result of a Ray task or actor call and returns it.

    Raises:
        RayDied: If Ray itself or the task's node was lost.
        RayError: If the task failed or its process crashed.
    """
    try:
        return ray.get(under_way)
    except LocalRayletDiedError as error:
        raise RayDied("Ray died") from error
    except (NodeDiedError, ActorUnavailableError) as error:
        raise RayDied("a node was lost") from error
    except RayError as error:
        if NODE_DIED in str(error):
            raise RayDied("a node was lost") from error
        raise


def outcomes(under_way: ray.ObjectRef) -> Outcomes | str:
    """Waits for a scoring task and returns the trial's outcomes, or why there are none.

    Raises:
        RayDied: If Ray itself or the task's node was lost.
        OSError: If something is wrong with the machine that scored the trial.
    """
    try:
        return answer(under_way)
    except RayTaskError as error:
        if isinstance(error.cause, OSError):
            raise error.cause from error
        return last_line(str(error))
    except RayError as error:  # its process crashed, most likely out of memory
        return last_line(str(error))
