"""The epochs of a trial in MLflow, fetched on first access."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from mlflow.entities import Metric, Run

from datasets.errors import InputError
from record import names
from record.mlflow_runs import last_epoch
from record.own_commands import own_command
from record.trial import Report

Fetch = Callable[[Run], Iterable[Metric]]
"""Function that fetches all points of all metrics of a run."""


class LazyReports(Sequence[Report]):
    """A sequence of the epochs of an MLflow run.

    The length and the last epoch are known without a request; any other access fetches all epochs
    once.

    Args:
        run: The run, which has at least one epoch.
        fetch: Fetches all metric points of the run.

    Raises:
        InputError: On an access that fetches, if an epoch before the last one is missing.
    """

    def __init__(self, run: Run, fetch: Fetch) -> None:
        self.run = run
        self.fetch = fetch
        self.last = _last(run)

    def __len__(self) -> int:
        return self.last.epoch

    @overload
    def __getitem__(self, place: int) -> Report: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Report]: ...

    def __getitem__(self, place: int | slice) -> Report | Sequence[Report]:
        return self.last if place in (-1, len(self) - 1) else self.all[place]

    def __iter__(self) -> Iterator[Report]:
        return iter(self.all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.all == tuple(other)

    def __repr__(self) -> str:
        return f"<{len(self)} epochs of the run {self.run.info.run_id}>"

    @cached_property
    def all(self) -> tuple[Report, ...]:
        """All epochs, in order.

        Raises:
            InputError: If an epoch is missing.
        """
        found = {report.epoch: report for report in reports_of(self.fetch(self.run))}
        epochs = range(1, len(self) + 1)
        if lost := [epoch for epoch in epochs if epoch not in found]:
            raise InputError(
                f"the run {self.run.info.run_id} in MLflow has no epoch {lost[0]}, which the "
                f"study wrote: `{own_command('studies.doctor')} NAME --repair` records it anew"
            )
        return tuple(found[epoch] for epoch in epochs)


def reports_of(points: Iterable[Metric]) -> Iterator[Report]:
    """Yields the completely written epochs among metric points, in order.

    If a metric was written more than once for an epoch, the latest value counts.
    """
    epochs: dict[int, dict[str, Metric]] = {}
    for point in sorted(points, key=lambda point: point.timestamp):
        epochs.setdefault(point.step, {})[point.key] = point
    for epoch, written in sorted(epochs.items()):
        if names.EPOCH in written:
            yield _report(epoch, written)


def _last(run: Run) -> Report:
    latest = [Metric.from_proto(metric) for metric in run.data.to_proto().metrics]
    epoch = last_epoch(run)
    return _report(epoch, {point.key: point for point in latest if point.step == epoch})


def _report(epoch: int, points: dict[str, Metric]) -> Report:
    metrics = {name: point.value for name, point in points.items()}
    metrics.pop(names.EPOCH, None)
    memory = metrics.pop(names.MEMORY, 0.0)
    return Report(epoch, points[names.EPOCH].timestamp, memory, metrics)
