"""What is refused of a study's definition, in one line each, before anything runs."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Annotated, Any, Literal, cast

import pytest
from fake_scorecard import FakeScorecard
from fake_study import FAKE
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import IntDistribution as Whole

from datasets.errors import InputError
from engine.definition_check import check_definition
from engine.study import Study
from studies import example, gnn_sweep, world_model_sweep
from trainables.config import TrialConfig, When


def refused(study: Study[Any]) -> str:
    with pytest.raises(InputError) as error:
        check_definition(study)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "study", [example.STUDY, gnn_sweep.STUDY, world_model_sweep.STUDY, FAKE], ids=lambda s: s.key
)
def test_a_study_that_runs_is_not_refused(study: Study[Any]) -> None:
    check_definition(study)


@pytest.mark.parametrize("key", ["My digits!", "", ".hidden", "a/b"])
def test_a_key_that_names_no_folder(key: str) -> None:
    assert f"key is {key!r}: expected letters" in refused(replace(FAKE, key=key))


def test_an_objective_without_a_split() -> None:
    said = refused(replace(FAKE, objective="height"))
    assert "objective is 'height': expected split/metric, such as validation/score" in said


def test_a_group_that_is_no_field() -> None:
    said = refused(replace(FAKE, group_by="dept"))
    assert "group_by is 'dept', but FakeConfig has no such field: expected one of" in said
    assert FAKE.group_by in said


def test_a_group_that_is_no_choice() -> None:
    assert "group_by is 'seed', which is no choice" in refused(replace(FAKE, group_by="seed"))


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_first_rung_that_is_no_share(share: float) -> None:
    assert f"first_rung is {share}: expected above 0" in refused(replace(FAKE, first_rung=share))


@pytest.mark.parametrize("name", ["finalists", "seeds"])
def test_the_finals_have_at_least_one_of_each(name: str) -> None:
    assert f"{name} is 0: expected at least 1" in refused(replace(FAKE, **{name: 0}))


def test_a_grid_of_no_preset_or_of_no_field() -> None:
    said = refused(replace(FAKE, grids={"nameless": {}}))
    assert "grids has 'nameless', which is no preset: expected one of named" in said
    said = refused(replace(FAKE, grids={"named": {"levle": (1, 2)}}))
    assert "grids['named'] has 'levle': expected fields of FakeConfig" in said


class NoDataclass(TrialConfig):
    width: Annotated[int, Whole(8, 256)] = 32


@dataclass(frozen=True)
class NoRange(TrialConfig):
    width: Annotated[int, (8, 256)] = 32


@dataclass(frozen=True)
class Outside(TrialConfig):
    width: Annotated[int, Whole(8, 256)] = 300


@dataclass(frozen=True)
class Misspelt(TrialConfig):
    activation: Annotated[Literal["relu", "tanh"], Choice(("relu", "tahn"))] = "relu"


@dataclass(frozen=True)
class NoneOfThem(TrialConfig):
    activation: Annotated[str, Choice(("relu", "tanh"))] = "gelu"


@dataclass(frozen=True)
class Conditional(TrialConfig):
    activation: Annotated[str, Choice(("relu", "tanh"))] = "relu"


@dataclass(frozen=True)
class OfNoField(Conditional):
    slope: Annotated[int, Whole(1, 3), When("activaton", ("relu",))] = 1


@dataclass(frozen=True)
class OfNoChoice(Conditional):
    slope: Annotated[int, Whole(1, 3), When("activation", ("rleu",))] = 1


@dataclass(frozen=True)
class OfText(Conditional):
    slope: Annotated[int, Whole(1, 3), When("activation", cast(Any, "relu"))] = 1


@dataclass(frozen=True)
class InFront(Conditional):
    slope: Annotated[int, When("activation", ("relu",)), Whole(1, 3)] = 1


@dataclass(frozen=True, kw_only=True)
class NoDefault(TrialConfig):
    width: Annotated[int, Whole(8, 256)]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (OfNoField, "OfNoField.slope depends on 'activaton', which is no field"),
        (OfNoChoice, "OfNoChoice.slope depends on activation being 'rleu', which is none of its"),
        (OfText, "OfText.slope depends on the values 'relu' of activation: expected a tuple"),
        (InFront, "InFront.slope has a When with no range in front of it: expected Whole"),
        (NoDefault, "NoDefault.width has no default: expected one, which is tried first"),
        (dict, "config is <class 'dict'>: expected a class that extends TrialConfig"),
        (NoDataclass, "NoDataclass is no dataclass: expected @dataclass(frozen=True) above it"),
        (NoRange, "NoRange.width has the range (8, 256): expected Whole(...), Real(...) or"),
        (Outside, "Outside.width has the default 300, which is not in its range IntDistribution"),
        (Misspelt, "Misspelt.activation has the choice 'tahn', which its type"),
        (NoneOfThem, "NoneOfThem.activation has the default 'gelu', which is not in its range"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_configuration_that_cannot_be_searched(config: Any, said: str) -> None:
    assert said in refused(replace(FAKE, config=config))


def no_scorecard() -> Any:
    return "R2"


def without_unit() -> Any:
    card = FakeScorecard()
    object.__setattr__(card, "unit", "")
    return card


@pytest.mark.parametrize("make", [no_scorecard, without_unit])
def test_a_scorecard_without_a_unit(make: Callable[[], Any]) -> None:
    assert "expected a Scorecard with a unit" in refused(replace(FAKE, scorecard=make()))


def test_a_study_that_its_file_calls_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("__main__")
    module.__file__ = "/nowhere/mine.py"
    module.MY_STUDY = replace(FAKE, file="/nowhere/mine.py")
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert "/nowhere/mine.py has no STUDY" in refused(module.MY_STUDY)
    module.STUDY = module.MY_STUDY
    check_definition(module.MY_STUDY)
