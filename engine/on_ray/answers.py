"""Answers of tasks on Ray, which may be lost with their node."""

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
    """What a task, or a call, gives.

    Raises:
        RayDied: If Ray, or its node, did not stay alive.
        RayError: If it failed, or its process died.
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
    """The outcomes of a trial, or why there are none.

    Raises:
        RayDied: See `answer`.
        OSError: If something is wrong with the machine that scored it.
    """
    try:
        return answer(under_way)
    except RayTaskError as error:
        if isinstance(error.cause, OSError):
            raise error.cause from error
        return last_line(str(error))
    except RayError as error:  # its process died, for want of memory most likely
        return last_line(str(error))
