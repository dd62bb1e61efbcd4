"""What a study takes from earlier ones: where it fits, what is recorded, and what it leads to."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
from happened import UNIX_MS, at, began, placed
from old_proposals import score
from optuna.trial import TrialState
from recorded_space import RecordedConfig

from datasets.errors import InputError
from engine.earlier import CARRIED, prior, recorded, taken, with_carried
from engine.search_memory import Draw, SamplerName, SearchMemory
from engine.space import Space
from record import events
from record.events import Ended, Proposed
from record.state import StudyState
from record.trial import Baseline, Report, Searched, Status, Trial

OBJECTIVE = "validation/r2"
DATA: Mapping[str, Any] = {"data.dataset": "molecules", "data.digest": "0123", "facts.train": 80}
GIVEN = {**DATA, "epochs": 15}
FAMILIES = ["gcn", "gin", "gat"]


def space_of(**given: list[Any]) -> Space:
    return Space.of(RecordedConfig, "family", {"family": FAMILIES, **given})  # pyright: ignore[reportArgumentType]


class Study:
    """A study whose trials end at once, in the record's own terms."""

    def __init__(self, spec: Mapping[str, Any] = DATA, sampler: SamplerName = "tpe") -> None:
        self.sampler: SamplerName = sampler
        self.state = StudyState()
        session = began(spec=spec)
        self.state.apply(events.from_json(events.to_json(session)))

    def memory(self, space: Space) -> SearchMemory:
        """The search of a session in a space, made of nothing but what the record says."""
        tried = self.state.search()
        space = with_carried(space, tried, self.state.session.spec)
        return SearchMemory(
            space, self.sampler, 0, OBJECTIVE, trials=tried, prior=prior(self.state)
        )

    def go_on(self, space: Space, count: int) -> "Study":
        """Goes on with so many trials, of which every fourth is stopped early."""
        memory = self.memory(space)
        for _ in range(count):
            number = self.state.next_number
            self.end(memory.ask(), "pruned" if number % 4 == 3 else "finished")
            memory.tell(self.state.trial(number))
        return self

    def end(self, draw: Draw, status: Status) -> None:
        number, epochs = self.state.next_number, 3 if status == "pruned" else 15
        config = asdict(draw.config)
        value = score(replace(draw.config, seed=0, epochs=15))
        reports = tuple(
            Report(epoch, UNIX_MS, 0.1, {OBJECTIVE: value}) for epoch in range(1, epochs + 1)
        )
        for event in (
            Proposed(number, config, draw.drawn, draw.role, at(number), draw.inactive),
            placed(number),
            Ended(number, status, at(number), reports=reports),
        ):
            self.state.apply(event)

    def configs(self) -> list[Mapping[str, Any]]:
        return [trial.config for trial in self.state.search()]


def started(space: Space, *studies: Study, given: Mapping[str, Any] = GIVEN) -> Study:
    """A new study in a space that starts from earlier ones."""
    found = [taken(f"s{n}", each.state, space, given) for n, each in enumerate(studies)]
    return Study({**given, **recorded(found, OBJECTIVE)})


def best_of(study: Study, space: Space) -> list[Mapping[str, Any]]:
    """Configurations of the finished trials of a study that lie in a space, best first."""
    finished = [t for t in study.state.search() if t.status == "finished"]
    inside = [trial for trial in finished if not space.misfit(trial.config)]
    return [trial.config for trial in sorted(inside, key=study.state.standing, reverse=True)]


def carried_from(study: Study, space: Space) -> list[Mapping[str, Any]]:
    """What is tried first of a study: the best of each family, and then the next best, without
    the defaults."""
    defaults = [asdict(space.default(family)) for family in space.compared]
    best = [config for config in best_of(study, space) if config not in defaults]
    families = [config["family"] for config in best]
    heads = [c for place, c in enumerate(best) if c["family"] not in families[:place]]
    return [*heads, *(config for config in best if config not in heads)][:CARRIED]


def learnt(memory: SearchMemory) -> list[Any]:
    """What the sampler knows."""
    trials = memory.study.get_trials(deepcopy=False)
    return [(each.state, each.value, each.params, each.intermediate_values) for each in trials]


EARLIER = Study().go_on(space_of(), 24)


def test_the_best_configurations_come_first_and_then_the_baselines() -> None:
    study = started(space_of(), EARLIER).go_on(space_of(), 7)
    assert study.configs()[:CARRIED] == carried_from(EARLIER, space_of())
    assert len({config["family"] for config in study.configs()[:CARRIED]}) > 1
    roles = [trial.role for trial in study.state.search()]
    assert roles == [Searched(0), Searched(1), Searched(2), *map(Baseline, (3, 4, 5)), Searched(6)]
    space = with_carried(space_of(), [], study.state.session.spec)
    assert [study.configs()[index] for index in space.defaults_at()] == [
        asdict(RecordedConfig(family=family)) for family in FAMILIES
    ]


def test_of_one_family_the_best_three_come_first() -> None:
    space = space_of(family=["gin"])
    source = Study().go_on(space, 12)
    default = asdict(RecordedConfig(family="gin"))
    best = [config for config in best_of(source, space) if config != default]
    study = started(space, source).go_on(space, 4)
    assert study.configs() == [*best[:CARRIED], default]


def test_a_configuration_that_is_a_default_is_tried_once_and_as_the_baseline() -> None:
    few = Study().go_on(space_of(), 3)
    study = started(space_of(), few).go_on(space_of(), 4)
    assert [type(trial.role) for trial in study.state.search()] == [*[Baseline] * 3, Searched]


def test_they_have_the_seed_and_the_epochs_of_the_new_study() -> None:
    space = space_of(seed=[7], epochs=[3])
    study = started(space, EARLIER, given={**DATA, "epochs": 3}).go_on(space, 4)
    expected = {**best_of(EARLIER, space)[0], "seed": 7, "epochs": 3}
    assert study.configs()[0] == expected
    assert {(config["seed"], config["epochs"]) for config in study.configs()} == {(7, 3)}


def test_the_best_of_several_studies_are_tried_in_turn() -> None:
    other = Study(sampler="random").go_on(space_of(), 24)
    study = started(space_of(), EARLIER, other).go_on(space_of(), 2 * CARRIED)
    one, two = carried_from(EARLIER, space_of()), carried_from(other, space_of())
    turns = [config for pair in zip(one, two, strict=True) for config in pair]
    assert study.configs() == turns


@pytest.mark.parametrize("given", [{}, {"width": [32, 64, 128]}, {"edges": ["distances"]}])
def test_all_trials_in_the_space_guide_the_sampler_and_no_other(given: dict[str, Any]) -> None:
    source = Study().go_on(space_of(edges=["bonds", "distances"], head=["dipole"]), 12)
    source.go_on(space_of(width=[64]), 12)
    space = space_of(**given)
    inside = [t for t in source.state.search() if not space.misfit(t.config)]
    known = learnt(started(space, source).memory(space))
    assert 0 < len(inside) == len(known)
    for trial, (state, value, params, intermediate) in zip(inside, known, strict=True):
        expected = score(RecordedConfig(**trial.config))
        assert params == space.drawn_of(trial.config), "what was fixed there is drawn here"
        assert value == (expected if state is TrialState.COMPLETE else pytest.approx(expected))
        assert state is (TrialState.PRUNED if trial.status == "pruned" else TrialState.COMPLETE)
        assert intermediate == ({3: expected} if trial.status == "pruned" else {})


def test_a_study_that_fixed_a_field_guides_one_that_searches_it() -> None:
    narrow = Study().go_on(space_of(width=[48], normalization=["batch"]), 10)
    known = learnt(started(space_of(), narrow).memory(space_of()))
    assert {(params["width"], params["normalization"]) for _, _, params, _ in known} == {
        (48, "batch")
    }


def test_what_was_learned_from_other_data_or_for_fewer_epochs_guides_no_sampler() -> None:
    for given in (
        {**GIVEN, "data.digest": "4567"},
        {**GIVEN, "epochs": 30},
        {**GIVEN, "facts.train": 90},
        {**GIVEN, "data.split": "homework"},
    ):
        found = taken("s", EARLIER.state, space_of(), given)
        (name,) = [name for name in given if GIVEN.get(name) != given[name]]
        here = f"its {name} is {GIVEN.get(name)}, here it is {given[name]}"
        assert found.text.endswith(f"its trials do not guide the search, as {here}")
        study = started(space_of(), EARLIER, given=given)
        assert learnt(study.memory(space_of())) == []
        assert study.go_on(space_of(), 1).configs() == best_of(EARLIER, space_of())[:1]
    same = taken("s", EARLIER.state, space_of(), GIVEN)
    assert same.text.endswith("and its 24 trials in this space guide the search")


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_study_that_was_interrupted_proposes_what_one_without_a_break_does(
    sampler: SamplerName,
) -> None:
    space = space_of(edges=["bonds"], head=["mean"])
    source = Study().go_on(space, 12)
    whole, broken = started(space, source), started(space, source)
    whole.sampler = broken.sampler = sampler
    whole.go_on(space, 14)
    for _ in range(7):
        broken.go_on(space, 2)
    assert broken.configs() == whole.configs()
    first = len(with_carried(space, [], whole.state.session.spec).first())
    without = {"first": whole.state.session.spec["earlier"]["first"], "trials": ()}
    alone = Study({**GIVEN, "earlier": without}, sampler)
    alone.go_on(space, first + 1)
    assert alone.configs()[:first] == whole.configs()[:first]
    assert alone.configs()[first] != whole.configs()[first], "the prior guides what comes then"


def test_no_result_of_an_earlier_study_is_one_of_the_new_study() -> None:
    study = started(space_of(), EARLIER)
    assert (study.state.trials(), study.state.best()) == ((), None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": [500]}, "width is .*, here it is 500"),
        ({"standardize": [False]}, "standardize is True, here it is False"),
        ({"family": ["sage"]}, "family is .*, here it is sage"),
        ({"dropout": [0.9, 0.95]}, "dropout is .*, searched is 0.9, 0.95"),
    ],
)
def test_a_space_without_any_of_its_trials_is_refused_with_the_difference_named(
    given: dict[str, list[Any]], said: str
) -> None:
    expected = f"--from s: no finished trial of it .* its best, {said}; search a space that"
    with pytest.raises(InputError, match=expected) as no:
        taken("s", EARLIER.state, space_of(**given), GIVEN)
    assert "\n" not in str(no.value)


def test_the_best_that_fit_are_taken_where_the_best_of_all_does_not() -> None:
    best = best_of(EARLIER, space_of())[0]
    space = space_of(batch_size=[size for size in (32, 64, 128) if size != best["batch_size"]])
    carried = carried_from(EARLIER, space)
    assert best not in carried
    found = taken("s", EARLIER.state, space, GIVEN)
    assert [trial.config for trial in found.best] == carried


# A narrower space under the same name


def test_what_is_tried_first_in_a_narrower_space_is_not_tried_again() -> None:
    study = Study(sampler="random").go_on(space_of(), 2)
    narrower = space_of(family=["gat", "gcn"])
    study.go_on(narrower, 3)
    families = [config["family"] for config in study.configs()]
    assert families[:3] == ["gcn", "gin", "gat"], "the default of gcn was tried already"
    roles = [trial.role for trial in study.state.search()]
    assert roles == [*map(Baseline, range(3)), Searched(3), Searched(4)]
    assert set(families[3:]) <= {"gat", "gcn"}
    space = with_carried(narrower, study.state.search(), {})
    assert space.defaults_at() == [2, 0]


def test_a_default_with_the_value_that_a_narrower_space_fixes_comes_next() -> None:
    study = Study().go_on(space_of(), 8).go_on(space_of(width=[48]), 5)
    expected = [asdict(RecordedConfig(family=family, width=48)) for family in FAMILIES]
    assert study.configs()[8:11] == expected
    roles = [trial.role for trial in study.state.search()][8:]
    assert roles == [*map(Baseline, (8, 9, 10)), Searched(11), Searched(12)]
    assert {config["width"] for config in study.configs()[8:]} == {48}


def test_a_study_goes_on_in_the_whole_space_with_what_the_narrower_one_found() -> None:
    study = Study().go_on(space_of(), 8).go_on(space_of(width=[48]), 8)
    memory = study.memory(space_of())
    known = learnt(memory)
    assert [params["width"] for _, _, params, _ in known[8:]] == [48] * 8
    assert all(state is not TrialState.FAIL for state, *_ in known)
    assert memory.ask().role == Searched(16), "all defaults were tried"


def test_sessions_in_a_narrower_space_propose_what_one_session_does() -> None:
    narrower = space_of(width=[48], family=["gcn", "gin"])
    whole = Study().go_on(space_of(), 10).go_on(narrower, 10)
    broken = Study().go_on(space_of(), 10)
    for _ in range(10):
        broken.go_on(narrower, 1)
    assert broken.configs() == whole.configs()


def test_what_lies_outside_of_a_narrower_space_teaches_nothing() -> None:
    study = Study().go_on(space_of(), 16)
    narrower = space_of(family=["gcn"])
    states = [state for state, *_ in learnt(study.memory(narrower))]
    inside = [config["family"] == "gcn" for config in study.configs()]
    assert [state is not TrialState.FAIL for state in states] == inside


def test_the_number_of_a_trial_to_come_is_the_next_one() -> None:
    study = Study().go_on(space_of(), 2)
    assert [study.state.number(index) for index in (0, 1, 2, 4)] == [0, 1, 2, 4]


def test_values_that_are_all_higher_in_an_earlier_study_guide_as_if_they_were_not() -> None:
    space = space_of()
    study = started(space, EARLIER).go_on(space, 10)
    (known,) = prior(study.state)
    higher = [raised(trial, 1.0) for trial in known]

    def proposed(*earlier: list[Trial]) -> list[Any]:
        memory = SearchMemory(
            space, "tpe", 0, OBJECTIVE, trials=study.state.search(), prior=earlier
        )
        return [memory.ask().config for _ in range(4)]

    assert proposed(higher) == proposed(known) != proposed()
    assert proposed(higher[:8], known[8:]) == proposed(known), "each study by itself"


def raised(trial: Trial, by: float) -> Trial:
    (report,) = trial.reports
    metrics = {OBJECTIVE: report.metrics[OBJECTIVE] + by}
    return replace(trial, reports=(replace(report, metrics=metrics),))


def test_a_prior_is_of_trials() -> None:
    ((first, *_),) = prior(started(space_of(), EARLIER).state)
    assert isinstance(first, Trial)
    assert first.value(OBJECTIVE) == score(RecordedConfig())
