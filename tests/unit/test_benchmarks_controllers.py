"""Rows, tables and figure of docs/results-world-models.md; and that the page is true."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from recorded_study import HERE, study_of

from analysis.controller_scorecard import CEILING
from benchmarks import controller_figures, controller_results
from benchmarks.controller_figures import PAGE
from benchmarks.controller_results import Row
from datasets.driving import DrivingOptions
from datasets.errors import InputError
from record import names
from record.artifacts import Artifacts
from record.outcomes import Outcomes
from record.trial import Replicate, Report, Searched, Trial
from trainables.controller_config import ControllerConfig


def row(experiment: str, test_return: float, **config: Any) -> Row:
    made = ControllerConfig(**config)
    return Row(
        experiment=experiment,
        split="random:256,24,24",
        data="digest",
        vision=made.vision,
        memory=made.memory,
        seed=made.seed,
        epochs=made.epochs,
        environment_steps=1_500_000,
        reconstruction_mse=0.001 * (1 + made.seed),
        diversity=0.5 if made.vision == "vae" else math.nan,
        validation_return=test_return + 7,
        test_return=test_return,
        tiles=0.75,
        seconds=200.0,
        device="cpu",
        config=json.dumps(asdict(made), sort_keys=True),
    )


ROWS = [
    row("long", 800, vision="vae", memory="trained"),
    *(
        row("verdicts", value, vision=vision, memory=memory, seed=seed)
        for vision, memory, values in (
            ("vae", "none", (610, 520, 430)),
            ("pca", "none", (600, 500, 400)),
            ("vae", "trained", (310, 320, 330)),
        )
        for seed, value in enumerate(values)
    ),
]


def cells(table: str) -> list[list[str]]:
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_returns_are_means_over_seeds_best_first() -> None:
    found = cells(controller_figures.returns(ROWS, "verdicts"))
    assert [line[:2] for line in found] == [
        ["VAE", "none"],
        ["principal components", "none"],
        ["VAE", "trained"],
    ]
    assert found[0][2:] == ["520 ± 90", "527 ± 90", "75.0%", "1.5 M", "3", "3"]


def test_a_verdict_is_a_paired_difference_with_student_s_interval() -> None:
    """Differences of 10, 20 and 30: the mean is 20, its standard error 10 / sqrt(3), and Student's
    t with two degrees of freedom 4.303."""
    found = {tuple(line[:2]): line[2:] for line in cells(controller_figures.verdicts(ROWS))}
    assert found["VAE", "principal components"] == ["+20", "-5 to +45", "+10, +20, +30"]
    assert found["trained memory", "no memory"] == ["-200", "-448 to +48", "-300, -200, -100"]
    assert len(found) == 2  # nothing else is alike but for one of them


def test_pairs_of_a_seed_are_no_samples_of_their_own() -> None:
    """With a second memory there are six differences between the visions, and three of seeds."""
    more = [
        row("verdicts", value, vision="pca", memory="trained", seed=seed)
        for seed, value in enumerate((320, 320, 320))
    ]
    found = {tuple(line[:2]): line[2:] for line in cells(controller_figures.verdicts(ROWS + more))}
    # The mean of +10 and -10, of +20 and 0, of +30 and +10.
    assert found["VAE", "principal components"] == ["+10", "-15 to +35", "+0, +10, +20"]


def test_two_trainings_of_the_same_are_refused() -> None:
    again = row("verdicts", 100, vision="pca", memory="none", seed=1, hidden=32)
    with pytest.raises(InputError, match="10 rows of verdicts have 9 combinations"):
        controller_figures.verdicts([*ROWS, again])


def test_a_vision_that_several_controllers_share_is_counted_once() -> None:
    assert cells(controller_figures.visions(ROWS)) == [
        ["VAE", "2.00 ± 1.00", "0.50 ± 0.00", "3"],
        ["principal components", "2.00 ± 1.00", "–", "3"],
    ]


def test_the_figure_has_a_marker_for_each_training_and_a_line_for_each_mean() -> None:
    figure = Figure()
    controller_figures.paint(ROWS, figure)
    (axes,) = figure.axes
    points = [each for each in axes.collections if isinstance(each, PathCollection)]
    shown = np.concatenate([np.ma.getdata(each.get_offsets()) for each in points])
    assert sorted(map(tuple, shown.round(1))) == sorted(
        (at, each.test_return)
        for each in ROWS
        if each.experiment == "verdicts"
        for at in [{"vae": 0, "pca": 1}[each.vision] + 0.2 * (1 - 2 * (each.memory == "trained"))]
    )
    lines = [each for each in axes.collections if isinstance(each, LineCollection)]
    means = [segment[0, 1] for each in lines for segment in each.get_segments()]
    assert sorted(means) == [320, 500, 520]
    assert [each.get_text() for each in axes.get_xticklabels()] == ["VAE", "principal components"]


@pytest.mark.parametrize("name", PAGE.tables)
def test_every_table_fills_its_place(name: str) -> None:
    filled = PAGE.filled(f"before\n<!-- table {name} -->\nold\n<!-- end -->\nafter\n", ROWS)
    assert "old" not in filled and filled.count("|") > 6
    assert PAGE.filled(filled, ROWS) == filled


class Scored:
    """Artifacts of trials that were scored on two tracks."""

    def outcomes(self, trial: Trial) -> Outcomes:
        errors = CEILING - np.array([500.0, 600.0 + trial.config["seed"]])
        return Outcomes(errors, np.full(2, CEILING), {"tiles": np.array([0.5, 0.75])})


def recorded(vision: str) -> Row:
    """The row of a final whose vision took four epochs, its memory six, and whose search two."""
    config = ControllerConfig(vision=cast(Any, vision), epochs=12, seed=5)
    seen = {"validation/reconstruction_mse": 0.00125} if vision != "random" else {}
    if vision == "vae":
        seen["validation/diversity"] = 0.625
    generations = [
        {"validation/return": 100.0 * n, "train/environment_steps": 5e4 * n} for n in (1, 2)
    ]
    reports = [
        Report(epoch, 0, 0.1, {"train/seconds": 2.0, **metrics})
        for epoch, metrics in enumerate([*(seen,) * 4, *({},) * 6, *generations], start=1)
    ]
    trial = Trial(0, vars(replace(config, seed=0)), {}, Searched(0), "finished")
    final = replace(
        trial,
        number=1,
        config=vars(config),
        role=Replicate(0, 5),
        reports=tuple(reports),
        placements=(HERE,),
    )
    study = study_of([trial], [final])
    options = {names.OPTIONS + name: value for name, value in vars(DrivingOptions()).items()}
    params = {names.STUDY: "controller", names.DIGEST: "digest", **options}
    study = replace(study, params=params, artifacts=cast(Artifacts, Scored()))
    return controller_results.row("verdicts", study, final)


def test_a_row_is_what_was_recorded_of_a_training() -> None:
    made = recorded("vae")
    assert (made.vision, made.memory, made.seed, made.epochs) == ("vae", "trained", 5, 12)
    assert (made.environment_steps, made.validation_return) == (100_000, 200.0)
    assert (made.test_return, made.tiles) == (552.5, 0.625)
    assert (made.reconstruction_mse, made.diversity, made.seconds) == (0.00125, 0.625, 24.0)


def test_a_vision_without_a_prior_has_no_diversity() -> None:
    made = recorded("pca")
    assert made.reconstruction_mse == 0.00125
    assert math.isnan(made.diversity)


def test_a_vision_that_draws_nothing_has_no_error_either() -> None:
    made = recorded("random")
    assert math.isnan(made.reconstruction_mse)
    assert math.isnan(made.diversity)
    assert made.test_return == 552.5


def test_the_file_of_the_rows_is_as_it_is_written(tmp_path: Path) -> None:
    table = controller_results.TABLE
    table.write(reversed(table.read()), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == table.file.read_bytes()


def test_the_page_says_what_the_rows_say() -> None:
    text = PAGE.file.read_text()
    assert PAGE.filled(text, controller_results.TABLE.read()) == text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (PAGE.file.parent / picture).is_file(), picture
