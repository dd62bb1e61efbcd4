"""Searches MLflow runs, and reads from a run which trial it belongs to."""

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from datasets.errors import InputError
from record import names

PAGE = 1000
"""Maximum number of runs in one response of the tracking store."""


def found(
    client: MlflowClient, experiment: str, filter_string: str, view: int = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """Returns all runs of an experiment that match a filter, oldest first.

    Args:
        client: Client of the tracking store.
        experiment: Id of the experiment.
        filter_string: Filter in MLflow's search syntax; empty for all runs.
        view: Whether active or deleted runs are returned, or both.
    """
    runs, token = [], None
    while True:
        page = client.search_runs(
            [experiment],
            filter_string,
            view,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return runs


def number_of(run: Run) -> int:
    """Returns the number of the trial that a run belongs to.

    Raises:
        InputError: If the run's tag does not have a number.
    """
    text = run.data.tags.get(names.NUMBER, "")
    if not text.isdecimal():
        raise InputError(
            f"the run {run.info.run_id} in MLflow has {names.NUMBER} {text!r}: expected a trial's "
            "number; delete the run there, and it is recorded anew"
        )
    return int(text)


def last_epoch(run: Run) -> int:
    """Returns the last epoch that was written completely to a run; 0 if there is none."""
    return int(run.data.metrics.get(names.EPOCH, 0))


def is_replaced(run: Run) -> bool:
    """Returns True if this project, and not the user, deleted the run, to record it again."""
    return names.REPLACED in run.data.tags
