"""The champion on further tracks, of Gymnasium's own drawing."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from recorded_study import study_of

from analysis import further_drives
from analysis.champion import Champion
from analysis.further_drives import Driven, analyse, card, drive, interval
from datasets.errors import InputError
from datasets.racing import Rules
from record.trial import Replicate, Searched, Trial
from trainables.racing_controller import FURTHER, Driver
from trainables.steering import Senses
from trainables.visions.untrained import RandomEncoder


def trial(number: int, seed: int, replicate: bool) -> Trial:
    role = Replicate(0, seed) if replicate else Searched(number)
    config: dict[str, Any] = {"vision": "random", "seed": seed}
    return Trial(number, config, {}, role, "finished", ())


def champion(*seeds: int) -> Champion:
    finals = tuple((trial(n + 1, seed, True), {}) for n, seed in enumerate(seeds))
    return Champion(trial(0, 0, False), finals)


@pytest.fixture
def drivers() -> list[Driver]:
    """Two controllers that see frames of 32 pixels, for twelve steps."""
    torch.manual_seed(0)
    senses = Senses(RandomEncoder(4, 32).eval(), None)
    generator = np.random.default_rng(0)
    rules = Rules(size=32, steps=12, repeat=4)
    weights = generator.normal(size=(2, senses.parameters))
    return [Driver(senses, each, rules) for each in weights]


def test_every_training_drives_on_each_further_track(
    drivers: list[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    drives = Driver.drives

    def noted(self: Driver, *arguments: Any) -> Any:
        drawn.append(self.rules.drawing)
        return drives(self, *arguments)

    monkeypatch.setattr(Driver, "drives", noted)
    monkeypatch.setattr(further_drives, "FURTHER", FURTHER[:3])
    monkeypatch.setattr(further_drives, "_pursued", lambda _, seeds: np.full(len(seeds), 600.0))
    found = drive(champion(4, 5), drivers, "gymnasium", map)
    assert drawn == ["gymnasium", "gymnasium"]
    assert found.champion.keys() == {4, 5}
    for driver, returns in zip(drivers, found.champion.values(), strict=True):
        own = replace(driver, rules=replace(driver.rules, drawing="gymnasium"))
        assert returns.tolist() == [each.total for each in own.drives(FURTHER[:3])]
    assert found.pursuit.tolist() == [600] * 3
    np.testing.assert_allclose(found.mean, (found.champion[4] + found.champion[5]) / 2)


def test_the_interval_of_a_mean_is_that_of_its_tracks() -> None:
    values = np.random.default_rng(0).normal(500, 100, 400)
    low, high = interval(values)
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * 5, values.mean() + 1.96 * 5), abs=1.5
    )
    assert interval(np.full(5, 3.0)) == (3, 3)


def test_the_card_compares_with_the_driver_that_sees_the_track() -> None:
    generator = np.random.default_rng(1)
    pursuit = generator.normal(700, 50, len(FURTHER))
    found = Driven({4: pursuit + 40, 5: pursuit + 60}, pursuit)
    made = card(found, champion(4, 5), "gymnasium")
    lines = {
        cells[1].strip(): cells[2:] for cells in map(cells_of, made.text.splitlines()) if cells
    }
    assert lines["difference"][0].strip() == "50"
    assert lines["difference"][1].strip() == "50 to 50"
    assert lines["mean over seeds"][0].strip() == f"{pursuit.mean() + 50:.0f}"
    assert "100 further tracks, with Gymnasium's own drawing" in made.text
    assert isinstance(made.table, pd.DataFrame)
    assert made.table["track"].tolist() == [*FURTHER]
    assert made.captions.keys() == made.figures.keys() == {"further_drives"}


def cells_of(line: str) -> list[str]:
    return line.split("|") if line.startswith("| ") else []


def test_a_study_of_another_kind_has_nothing_to_drive() -> None:
    with pytest.raises(InputError, match="is no study of controllers: there is nothing to drive"):
        analyse(study_of([]), cast(Any, None), None, "gymnasium")
