"""The search in memory proposes what the search proposed that kept a journal."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import optuna
import pytest
from happened import UNIX_MS, at, began, ended_session, placed
from old_proposals import RECORDINGS, recorded, score
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from recorded_space import RecordedConfig, recorded_space

import engine.search_memory
from engine.search_memory import Draw, SamplerName, SearchMemory
from engine.space import Space
from record.events import Ended, Event, Proposed
from record.log import MemoryLog
from record.state import StudyState, fold
from record.trial import Baseline, Replicate, Report, Role, Searched, Trial

OBJECTIVE = "validation/r2"

Rebuild = Callable[[int], bool]

REBUILT: Mapping[str, Rebuild] = {
    "never": lambda asked: False,
    "before each proposal": lambda asked: True,
    "now and then": lambda asked: asked % 7 == 3,
}


class Study:
    """A study of a recording's space, in the record's own terms."""

    def __init__(self, name: str) -> None:
        recording = RECORDINGS[name]
        self.space = recorded_space(recording.baseline)
        self.sampler: SamplerName = recording.sampler
        self.seed = recording.seed
        self.log = MemoryLog()
        self.state = StudyState()
        self.happen(began())
        self.memory = self.rebuilt()
        self.asked = 0

    def happen(self, *events: Event) -> None:
        self.log.append(events)
        for event in events:
            self.state.apply(event)

    def rebuilt(self) -> SearchMemory:
        """The search, made of nothing but what the log says."""
        trials = fold(self.log.read()).search()
        return SearchMemory(self.space, self.sampler, self.seed, OBJECTIVE, trials=trials)

    def ask(self) -> Draw:
        draw = self.memory.ask()
        self.propose(draw.role, asdict(draw.config), draw.drawn, draw.inactive)
        return draw

    def propose(
        self,
        role: Role,
        config: Mapping[str, Any],
        drawn: Mapping[str, Any],
        inactive: Mapping[str, Any],
    ) -> None:
        number = self.state.next_number
        self.happen(Proposed(number, config, drawn, role, at(number), inactive), placed(number))

    def end(self, number: int, status: Any, value: float | None, epochs: int) -> None:
        reports = () if value is None else tuple(_reports(epochs, value))
        self.happen(Ended(number, status, at(number), "so it goes", reports))
        self.memory.tell(self.state.trial(number))


def _reports(epochs: int, last: float) -> Iterator[Report]:
    for epoch in range(1, epochs + 1):
        value = last if epoch == epochs else last - 1
        yield Report(epoch, UNIX_MS + epoch, 0.25, {OBJECTIVE: value})


@pytest.mark.parametrize(
    ("name", "rebuilt"),
    [
        *((name, rebuilt) for name in RECORDINGS for rebuilt in ("never", "now and then")),
        ("tpe", "before each proposal"),
    ],
)
def test_the_search_proposes_what_it_proposed_of_old(
    name: str, rebuilt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 trials: conditional parameters, several at once, pruned, failed, infeasible and
    continued ones, and finals in between; told one by one, or rebuilt from the log."""
    recording = RECORDINGS[name]
    monkeypatch.setattr(engine.search_memory, "LEARNT", recording.learnt)
    monkeypatch.setattr(engine.search_memory, "BEST", recording.best)
    study, default = Study(name), asdict(RecordedConfig())
    for happening in recorded(name):
        match happening:
            case {"proposed": number, "of": of, "config": config}:
                study.propose(Replicate(of, config["seed"]), default | config, {}, {})
            case {"proposed": number, "role": role, "config": config, "drawn": drawn}:
                if REBUILT[rebuilt](number):
                    study.memory = study.rebuilt()
                draw = study.ask()
                assert study.state.next_number == number + 1
                assert draw.drawn == pytest.approx(drawn, rel=1e-9)
                assert asdict(draw.config) == pytest.approx(default | config, rel=1e-9)
                assert isinstance(draw.role, Baseline) == (role == "baseline")
            case {"ended": number, "state": status, "value": value}:
                study.end(number, status, value, happening.get("epoch", 15))
            case {"session": _} if len(study.state.sessions) > 1 or study.state.next_number:
                number = len(study.state.sessions)
                study.happen(ended_session(number, "KILLED"), began(number + 1))
    assert study.state.next_index == 200


def test_what_is_told_one_by_one_is_what_is_told_at_once() -> None:
    """In a study that minimises: what is proposed, and all that Optuna knows."""
    space = recorded_space(baseline=True)

    def fresh(trials: list[Trial]) -> SearchMemory:
        return SearchMemory(space, "tpe", 5, OBJECTIVE, "minimize", trials)

    memory, trials = fresh([]), []
    for number in range(40):
        draw = memory.ask()
        assert fresh(trials).ask() == draw
        trials.append(trial_of(number, draw))
        if number % 4:
            trials[number - 1] = ended_as(("finished", "pruned", "failed")[number % 3], trials[-2])
            memory.tell(trials[number - 1])
        assert known(fresh(trials)) == known(memory)


def test_gaussian_processes_learn_the_same_from_trials_told_one_by_one_or_at_once() -> None:
    """They begin with ten finished trials."""
    space = space_of_widths(head=["mean"], edges=["bonds"])
    memory, trials = SearchMemory(space, "gp", 0, OBJECTIVE), []
    for number in range(10):
        trials.append(ended_as("finished", trial_of(number, memory.ask())))
        memory.tell(trials[-1])
    draw = SearchMemory(space, "gp", 0, OBJECTIVE, trials=trials).ask()
    assert draw == memory.ask()
    random = SearchMemory(space, "random", 0, OBJECTIVE, trials=trials).ask()
    assert draw.drawn != random.drawn, "it is drawn by what was learnt"


def trial_of(number: int, draw: Draw) -> Trial:
    config = asdict(draw.config)
    return Trial(number, config, draw.drawn, draw.role, "running", inactive=draw.inactive)


def ended_as(status: Any, trial: Trial) -> Trial:
    value = score(RecordedConfig(**trial.config))
    reports = tuple(_reports(3, value)) if status in ("finished", "pruned") else ()
    return replace(trial, status=status, reports=reports)


def known(memory: SearchMemory) -> list[object]:
    return [
        (
            each.state,
            each.value,
            each.params,
            each.distributions,
            each.intermediate_values,
            each.constraints,
        )
        for each in memory.study.get_trials(deepcopy=False)
    ]


def space_of_widths(**given: Any) -> Space:
    return Space.of(RecordedConfig, "family", {"family": ["gcn"], **given})  # pyright: ignore


def asked(count: int, **given: Any) -> tuple[SearchMemory, list[Trial]]:
    memory = SearchMemory(space_of_widths(**given), "tpe", 0, OBJECTIVE)
    return memory, [trial_of(number, memory.ask()) for number in range(count)]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("finished", TrialState.COMPLETE),
        ("pruned", TrialState.PRUNED),
        ("infeasible", TrialState.PRUNED),
        ("failed", TrialState.FAIL),
        ("running", TrialState.RUNNING),
        ("stopped", TrialState.RUNNING),
        ("paused", TrialState.RUNNING),
        ("waiting", TrialState.RUNNING),
    ],
)
def test_each_ending_has_its_own_state(status: Any, state: TrialState) -> None:
    memory, (trial,) = asked(1)
    trial = ended_as(status, trial)
    memory.tell(trial)
    memory.tell(trial)
    again = SearchMemory(memory.space, "tpe", 0, OBJECTIVE, trials=[trial])
    for each in (memory, again):
        (found,) = each.study.trials
        assert found.state is state
        value = trial.value(OBJECTIVE)
        assert found.value == (value if status in ("finished", "pruned") else None)
        assert found.intermediate_values == ({3: value} if status == "pruned" else {})
        assert found.constraints == ({"memory": 1.0} if status == "infeasible" else {})


def test_nothing_is_learnt_from_a_replicate() -> None:
    memory, (trial,) = asked(1)
    replicate = replace(ended_as("finished", trial), role=Replicate(0, 1), number=1)
    memory.tell(replicate)
    assert [each.state for each in memory.study.trials] == [TrialState.RUNNING]
    again = SearchMemory(memory.space, "tpe", 0, OBJECTIVE, trials=[trial, replicate])
    assert again.begun == 1


def test_from_what_lies_outside_of_a_narrower_space_nothing_is_learnt() -> None:
    _, trials = asked(30)
    trials = [ended_as("finished", trial) for trial in trials]
    heads = [trial.config["head"] for trial in trials]
    batches = [trial.config["batch_size"] for trial in trials]
    narrower = space_of_widths(head=["mean"], batch_size=[32, 64])
    again = SearchMemory(narrower, "tpe", 0, OBJECTIVE, trials=trials)
    learnt = [each.state is TrialState.COMPLETE for each in again.study.trials]
    inside = [h == "mean" and b in (32, 64) for h, b in zip(heads, batches, strict=True)]
    assert learnt == inside
    assert 0 < sum(learnt) < 30
    assert all("head" not in each.params for each in again.study.trials)
    draw = again.ask()
    assert (draw.role, draw.drawn.keys() & {"head"}) == (Searched(30), set())
    assert asdict(draw.config)["head"] == "mean"


def test_a_default_that_is_a_baseline_but_for_fields_not_searched_is_tried_once() -> None:
    reference = lambda family: {"standardize": False}  # noqa: E731
    space = Space.of(RecordedConfig, "family", {}, reference=reference)  # pyright: ignore
    memory = SearchMemory(space, "tpe", 0, OBJECTIVE)
    first = [memory.ask() for _ in range(6)]
    assert [draw.role for draw in first] == [*(Baseline(index) for index in range(5)), Searched(5)]
    assert [asdict(draw.config)["standardize"] for draw in first] == [False] * 5 + [True]
    assert first[5].drawn not in [draw.drawn for draw in first[:5]]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_equal_seeds_and_endings_give_equal_proposals(sampler: SamplerName) -> None:
    def drawn(seed: int) -> list[Any]:
        memory = SearchMemory(recorded_space(baseline=False), sampler, seed, OBJECTIVE)
        return [asdict(each.config) for each in played(memory, 14)]

    once = drawn(0)
    assert drawn(0) == once
    assert drawn(1)[5:] != once[5:]


def played(memory: SearchMemory, count: int) -> list[Draw]:
    """So many trials, one after the other, that all finish."""
    draws = []
    for number in range(count):
        draws.append(memory.ask())
        memory.tell(ended_as("finished", trial_of(number, draws[-1])))
    return draws


def test_tpe_finds_better_configurations_than_chance() -> None:
    """Mean score of trials 30 to 59, for which others are drawn at random."""

    def mean(sampler: SamplerName) -> float:
        draws = played(SearchMemory(recorded_space(baseline=False), sampler, 0, OBJECTIVE), 60)
        return sum(score(draw.config) for draw in draws[30:]) / 30

    assert mean("tpe") > mean("random") + 0.3


def test_a_sampler_learns_from_the_newest_trials_and_the_best_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What TPE is shown; as much as there is while the trials are few."""
    seen: dict[int, list[int]] = {}

    class Watched(TPESampler):
        def infer_relative_search_space(
            self, study: optuna.Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            known = study.get_trials(deepcopy=False, states=states)
            seen[trial.number] = [each.number for each in known]
            return super().infer_relative_search_space(study, trial)

    monkeypatch.setattr(optuna.samplers, "TPESampler", Watched)
    monkeypatch.setattr(engine.search_memory, "LEARNT", 6)
    monkeypatch.setattr(engine.search_memory, "BEST", 2)
    memory = SearchMemory(recorded_space(baseline=False), "tpe", 0, OBJECTIVE)
    values = {0: 0.9, 1: 0.1, 2: 0.8, 3: 0.2, 5: 0.3, 6: 0.95}
    for number in range(14):
        trial = trial_of(number, memory.ask())
        reports = tuple(_reports(3, values.get(number, 0.0)))
        ending: Any = ("failed", ()) if number == 4 else ("finished", reports)
        memory.tell(replace(trial, status=ending[0], reports=ending[1]))
    assert seen[5] == [0, 1, 2, 3, 5]
    assert seen[10] == [0, 2, *range(5, 11)]
    assert seen[13] == [0, 6, *range(8, 14)]


def test_optuna_says_nothing_of_what_it_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    memory, (trial,) = asked(1)
    memory.tell(ended_as("finished", trial))
    assert capfd.readouterr() == ("", "")
