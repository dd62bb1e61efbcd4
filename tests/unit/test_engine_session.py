"""A study goes on as what it was begun as, or it is said what is different."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
from fake_study import FAKE, FakeOptions, open_fake
from fake_task import FakeConfig
from happened import began

from datasets.errors import InputError
from engine.command import Command
from engine.options import Options
from engine.provenance import Code
from engine.session import refuse_another, session_of
from engine.space import Space
from record import events
from record.state import StudyState

GIVEN: dict[str, list[Any]] = {"ending": ["good", "bad"], "epochs": [3]}


def spec(
    options: Options | None = None,
    data_options: FakeOptions | None = None,
    seed: int = 0,
    **more: list[Any],
) -> Any:
    data_options = data_options or FakeOptions()
    space = Space.of(FakeConfig, "ending", {**GIVEN, **more}, lambda ending: {"level": 0.25})
    command = Command(FAKE, options or Options(), data_options, {"seed": [seed]}, [])
    data, code = open_fake(data_options), Code("none", {})
    return session_of(command, data, space, code, None, StudyState(), {}).spec


def test_a_spec_says_all_that_is_asked() -> None:
    known = dict(spec())
    defaults, baselines, fixed = (known.pop(key) for key in ("defaults", "baselines", "fixed"))
    assert known == {
        "study": "fake",
        "objective": "validation/score",
        "group_by": "ending",
        "seed": 0,
        "preset": "none",
        "sampler": "tpe",
        "version": version("orrery"),
        "data.dataset": "nothing",
        "data.digest": "digest of nothing",
        "facts.train": 1,
    }
    assert fixed["epochs"] == 3
    assert defaults.keys() == baselines.keys() == {"good", "bad"}


def test_a_spec_is_read_from_the_log_as_it_was_written() -> None:
    session = replace(began(), spec=spec())
    assert events.from_json(events.to_json(session)) == session
    refuse_another("s", began(spec=spec()), began(2, spec=spec()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"options": Options(sampler="random")}, "sampler was tpe, now random"),
        ({"options": Options(preset="named")}, "preset was none, now named"),
        ({"data_options": FakeOptions("other")}, "data.dataset was nothing, now other"),
        ({"epochs": [4]}, "--epochs was 3, now 4"),
    ],
)
def test_another_question_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        refuse_another("s", began(spec=spec()), began(2, spec=spec(**given)))
    assert said in str(refused.value)
    assert str(refused.value).startswith("the study s was begun with another question: ")
    assert str(refused.value).endswith("repeat the command it was begun with")


def test_what_starts_a_study_of_its_own_is_said_where_only_the_space_differs() -> None:
    with pytest.raises(InputError, match="--name of its own and start it --from s, or repeat"):
        refuse_another("s", began(spec=spec()), began(2, spec=spec(epochs=[4])))
    with pytest.raises(InputError, match="--name of its own, or repeat"):
        refuse_another("s", began(spec=spec()), began(2, spec=spec(seed=1, epochs=[4])))


def listed(*levels: float, **more: Any) -> Any:
    """How a session of listed configurations begins."""
    configs = [{"ending": "good", "level": level, **more} for level in levels]
    return began(spec={**spec(), "listed": configs})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (listed(0.1, 0.3), "1 are new, such as level 0.3; .*1 are gone, such as level 0.2"),
        (listed(0.1, 0.2, 0.4, 0.5), "2 are new, such as level 0.4"),
        (listed(0.1), "1 are gone, such as level 0.2"),
        (listed(0.1, 0.2, slope=1), "2 are new, such as level 0.1, slope 1; .*2 are gone"),
        (listed(0.2, 0.1), "the listed configurations have another order"),
        (began(spec=spec()), "2 are gone, such as level 0.1"),
    ],
)
def test_other_listed_configurations_are_refused_with_one_of_them_named(
    given: Any, said: str
) -> None:
    refuse_another("s", listed(0.1, 0.2), listed(0.1, 0.2))
    with pytest.raises(InputError, match=said):
        refuse_another("s", listed(0.1, 0.2), given)


def test_what_may_change_from_session_to_session_is_no_difference() -> None:
    other = {**began().settings, "orrery.command": "python study.py --trials 99"}
    refuse_another("s", began(), began(2, settings=other))


def test_a_password_in_an_address_does_not_stand_in_the_log() -> None:
    known = spec(data_options=FakeOptions("https://me:s3cret@example.org/data"))
    assert known["data.dataset"] == "https://***@example.org/data"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), (3, 2)),
        (Options(local=True), (0, 2)),
        (Options(finalists=7, seeds=4, local=True), (7, 4)),
        (Options(finalists=0), (0, 2)),
    ],
)
def test_finals_are_as_many_as_the_study_says_unless_the_command_does(
    options: Options, expected: tuple[int, int]
) -> None:
    command = Command(replace(FAKE, finalists=3, seeds=2), options, FakeOptions(), {}, [])
    assert (command.finalists, command.final_seeds) == expected
