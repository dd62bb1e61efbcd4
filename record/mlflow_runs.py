"""Runs in MLflow: how they are searched for, and which trial each is of."""

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from datasets.errors import InputError
from record import names

PAGE = 1000
"""Runs in one answer of the tracking store."""


def found(
    client: MlflowClient, experiment: str, filter_string: str, view: int = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """The runs of an experiment that a filter lets through, the oldest first."""
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
    """Which trial a run is of.

    Raises:
        InputError: If the run does not say.
    """
    text = run.data.tags.get(names.NUMBER, "")
    if not text.isdecimal():
        raise InputError(
            f"the run {run.info.run_id} in MLflow has {names.NUMBER} {text!r}: expected a trial's "
            "number; delete the run there, and it is recorded anew"
        )
    return int(text)


def last_epoch(run: Run) -> int:
    """Up to which epoch a run is written."""
    return int(run.data.metrics.get(names.EPOCH, 0))


def is_replaced(run: Run) -> bool:
    """Whether a run was put away by this project, to be recorded anew, and not by the user."""
    return names.REPLACED in run.data.tags
