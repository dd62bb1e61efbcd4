"""Runs a session: the trials of the search, and then the finals."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from engine.agenda import Agenda
from engine.budgets import Limits, Stop
from engine.display import Display
from engine.driver import Driver
from engine.earlier import prior
from engine.early_scoring import EarlyScoring
from engine.early_stopping import Halving
from engine.interrupts import interruptible
from engine.listed import Listed
from engine.prepare import Prepared
from engine.projection import Projection
from engine.proposers import Proposer, Search
from engine.replicates import Replicates
from engine.retention import Retention
from engine.rungs import rungs
from engine.search_memory import SearchMemory
from engine.session import measured_before
from record import names
from record.tracker import NotRecorded
from record.trial import Trial

PATIENCE = 30.0
"""Seconds to wait at the end for an unavailable tracking server."""


@dataclass(frozen=True)
class Outcome:
    """Result of a session's search or finals.

    Attributes:
        called: Word for the trials in messages to the user: ``trials`` or ``finals``.
        ended: Number of these trials that have ended.
        total: Number of these trials in all.
        stop: Why the session ended early; None if it did not.
        undelivered: Numbers of the trials that could not be fully written to MLflow.
        cost: Text for the user on the time that recording took.
    """

    called: str
    ended: int
    total: int
    stop: Stop | None
    undelivered: Sequence[int]
    cost: str

    @property
    def is_answer(self) -> bool:
        """True if all trials ended, or target or plateau was reached, and no system error came."""
        stop = self.stop
        if stop is not None and stop.kind == "system_error":
            return False
        return self.ended >= self.total or (stop is not None and stop.is_answer)


def run(prepared: Prepared) -> Outcome:
    """Runs the remaining trials of a study's search, and then of its finals.

    Returns:
        The outcome of the finals if they were begun, otherwise that of the search.
    """
    options, state = prepared.command.options, prepared.open.state
    searched = _part(prepared, _search(prepared), _limits(prepared))
    best = state.best()
    if best is None or not searched.is_answer:
        return searched
    _say_best(prepared, searched, best)
    if searched.undelivered or not prepared.command.finalists:
        return searched
    finals = Replicates(
        state,
        prepared.space,
        prepared.command.finalists,
        prepared.command.final_seeds,
        race=options.finals == "race",
    )
    prepared.command.notify(finals.text())
    _name_finalists(prepared, finals)
    limits = Limits(finals.total, options.time_budget, begun=prepared.begun)
    return _part(prepared, finals, limits)


def _search(prepared: Prepared) -> Search | Listed:
    command, state = prepared.command, prepared.open.state
    if prepared.space.listed is not None:
        return Listed(state, prepared.space)
    assert command.options.sampler != "grid"
    memory = SearchMemory(
        prepared.space,
        command.options.sampler,
        command.seed,
        command.study.objective,
        trials=state.search(),
        prior=prior(state),
    )
    return Search(state, memory)


def _limits(prepared: Prepared) -> Limits:
    options = prepared.command.options
    return Limits(
        options.total(prepared.space.largest),
        options.time_budget,
        options.target_metric,
        options.plateau,
    )


def _part(prepared: Prepared, proposer: Proposer, limits: Limits) -> Outcome:
    """Runs the remaining trials of the search or of the finals."""
    command, opened = prepared.command, prepared.open
    agenda = Agenda(opened.state, proposer, limits)
    retention = Retention(
        opened.state, prepared.checkpoints, command.study.group_by, command.options.keep
    )
    display = Display(command.console, agenda, opened.state.best(), command.is_on_cluster)
    projection = Projection(opened.tracker, opened.history, command.notify)
    driver = Driver(
        opened.history,
        agenda,
        prepared.checkpoints,
        prepared.code,
        observers=(retention, display, projection, EarlyScoring(prepared, agenda)),
        halving=_halving(prepared, proposer),
        max_failures=command.options.max_failures,
        notify=command.notify,
    )
    display.live = driver.live
    command.notify(
        f"study {command.name}: {agenda.ended} of {agenda.total} {proposer.called} done"
    )
    undelivered: Sequence[int] = ()
    try:
        retention.sweep()
        if not agenda.is_done() and not agenda.should_stop():
            prepared.resources.share(prepared.backend, measured_before(opened.state))
            with display, interruptible(agenda, command.notify):
                prepared.backend.run(driver)
    except KeyboardInterrupt:
        agenda.halt(Stop("interrupted", "interrupted"))
    except OSError as error:
        agenda.abort(error)
    finally:
        driver.finish()
        undelivered = projection.finish(0.0 if agenda.was_cut_short() else PATIENCE)
    cost = _cost(prepared, projection)
    return Outcome(proposer.called, agenda.ended, agenda.total, agenda.stop, undelivered, cost)


def _halving(prepared: Prepared, proposer: Proposer) -> Halving | None:
    options = prepared.command.options
    if options.local or options.scheduler == "none" or not proposer.stops_early:
        return None
    return Halving(
        prepared.open.state, rungs(prepared.space.epochs, prepared.command.study.first_rung)
    )


def _cost(prepared: Prepared, projection: Projection) -> str:
    """Describes how much time the log and MLflow took, for the user."""
    opened, seconds = prepared.open, time.monotonic() - prepared.begun
    recording = opened.history.seconds + projection.seconds
    return (
        f"recording {recording:.1f} s and bringing MLflow up to date {opened.seconds:.1f} s "
        f"of {seconds:.0f} s: {(recording + opened.seconds) / seconds:.1%}"
    )


def _say_best(prepared: Prepared, searched: Outcome, best: Trial) -> None:
    """Prints the best trial of the search, and writes it to MLflow if that is available."""
    objective, ended, stop = prepared.command.study.objective, searched.ended, searched.stop
    value = prepared.open.state.value(best)
    assert value is not None
    ended_by = stop.text if stop and stop.is_answer else f"all {ended} trials are done"
    prepared.command.notify(
        f"\nbest of {ended} trials: trial {best.number}, {best.title}, {objective} {value:.4f}\n"
        f"ended because {ended_by} ({searched.cost})\n"
    )
    tags = {names.BEST_TRIAL: str(best.number), names.ENDED_BY: ended_by}
    with suppress(NotRecorded):  # `conclude` reports it if MLflow is unavailable
        prepared.open.tracker.describe(tags, {names.BEST + objective: value})


def _name_finalists(prepared: Prepared, finals: Replicates) -> None:
    """Writes the numbers of the finalists to MLflow, unless it is unavailable."""
    numbers = ", ".join(str(trial.number) for trial in finals.finalists)
    with suppress(NotRecorded):
        prepared.open.tracker.describe({names.FINALISTS: numbers}, {})
