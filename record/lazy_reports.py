"""The epochs of a trial in MLflow, which are fetched when somebody looks at them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from mlflow.entities import Metric, Run

from datasets.errors import InputError
from record import names
from record.mlflow_runs import last_epoch
from record.trial import Report

Fetch = Callable[[Run], Iterable[Metric]]
"""Gets all points of all metrics of a run."""


class LazyReports(Sequence[Report]):
    """The epochs of a run; how many there are and the last one are known without a request.

    Args:
        run: The run, which has one epoch at least.
        fetch: Asked once, for another epoch than the last.

    Raises:
        InputError: If an epoch before the last one is not there.
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
        """Every epoch, the first one first."""
        found = {report.epoch: report for report in reports_of(self.fetch(self.run))}
        epochs = range(1, len(self) + 1)
        if lost := [epoch for epoch in epochs if epoch not in found]:
            raise InputError(
                f"the run {self.run.info.run_id} in MLflow has no epoch {lost[0]}, which the "
                "study wrote: studies/doctor.py --repair records it anew"
            )
        return tuple(found[epoch] for epoch in epochs)


def reports_of(points: Iterable[Metric]) -> Iterator[Report]:
    """The epochs that points of metrics make: those that are written whole.

    Of a metric that was written twice for an epoch the latest value counts.
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
