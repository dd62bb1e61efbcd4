"""The trials of a session: those of the search, and then the finals."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from engine.agenda import Agenda
from engine.budgets import Limits, Stop
from engine.display import Display
from engine.driver import Driver
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
"""Seconds to wait at the end for a tracking server that is away."""


@dataclass(frozen=True)
class Outcome:
    """What a session has come to.

    Attributes:
        called: What the user knows its trials as: trials, or finals.
        ended: How many of them have ended.
        total: How many there are to be.
        stop: Why it ended early; None: it did not.
        undelivered: Numbers of the trials of which MLflow does not know everything.
        cost: What keeping the records took, for the user.
    """

    called: str
    ended: int
    total: int
    stop: Stop | None
    undelivered: Sequence[int]
    cost: str

    @property
    def is_answer(self) -> bool:
        """Whether all of it was done, or as much as there is to do."""
        stop = self.stop
        if stop is not None and stop.kind == "system_error":
            return False
        return self.ended >= self.total or (stop is not None and stop.is_answer)


def run(prepared: Prepared) -> Outcome:
    """Runs what is left to run of a study.

    Returns:
        What the search has come to, or the finals where there are any.
    """
    options, state = prepared.command.options, prepared.open.state
    searched = _part(prepared, _search(prepared), _limits(prepared))
    best = state.best()
    if best is None or not searched.is_answer:
        return searched
    _say_best(prepared, searched, best)
    if searched.undelivered or not options.best_count:
        return searched
    finals = Replicates(state, prepared.space, options.best_count, options.seeds)
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
    """Runs what is left to run of the search, or of its finals."""
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
        observers=(retention, display, projection),
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
    return Halving(prepared.open.state, rungs(prepared.space.epochs))


def _cost(prepared: Prepared, projection: Projection) -> str:
    """What it cost to keep the records, and to bring MLflow up to them."""
    opened, seconds = prepared.open, time.monotonic() - prepared.begun
    recording = opened.history.seconds + projection.seconds
    return (
        f"recording {recording:.1f} s and bringing MLflow up to date {opened.seconds:.1f} s "
        f"of {seconds:.0f} s: {(recording + opened.seconds) / seconds:.1%}"
    )


def _say_best(prepared: Prepared, searched: Outcome, best: Trial) -> None:
    """Says what the search found, in MLflow too if it can be told."""
    objective, ended, stop = prepared.command.study.objective, searched.ended, searched.stop
    value = prepared.open.state.value(best)
    assert value is not None
    ended_by = stop.text if stop and stop.is_answer else f"all {ended} trials are done"
    prepared.command.notify(
        f"\nbest of {ended} trials: trial {best.number}, {best.title}, {objective} {value:.4f}\n"
        f"ended because {ended_by} ({searched.cost})\n"
    )
    tags = {names.BEST_TRIAL: str(best.number), names.ENDED_BY: ended_by}
    with suppress(NotRecorded):  # the end of the session tells whether MLflow is away
        prepared.open.tracker.describe(tags, {names.BEST + objective: value})


def _name_finalists(prepared: Prepared, finals: Replicates) -> None:
    """Says in MLflow which trials are trained again; where it is away, nothing is lost but the
    names of those that it never comes to."""
    numbers = ", ".join(str(trial.number) for trial in finals.finalists)
    with suppress(NotRecorded):
        prepared.open.tracker.describe({names.FINALISTS: numbers}, {})
