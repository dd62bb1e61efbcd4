"""Figures show the texts of users as they are, and are the same wherever they are saved."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from recorded_study import study_of, trial

from analysis import finals, style, web_page
from record.artifacts import Artifacts
from record.outcomes import Outcomes
from record.trial import Baseline, Replicate
from trainables.models.gnn import GNNConfig


def drawn(label: str) -> Figure:
    return style.draw((2, 2), 2, ("epoch", f"error ({label})"), lambda axes: None)


@pytest.mark.parametrize("unit", [r"$\foo$", "$", r"US$ and $", r"\$ $\frac{1$", "%_^{#&~"])
def test_a_unit_that_is_no_formula_is_drawn_as_it_is(unit: str) -> None:
    figure = drawn(unit)
    figure.savefig(io.BytesIO(), format="png")
    label = figure.axes[0].yaxis.label
    shown, is_formula = label._preprocess_math(label.get_text())  # pyright: ignore
    assert (shown, is_formula) == (f"error ({unit})", False)


def test_powers_of_ten_on_an_axis_are_still_formulas() -> None:
    figure = style.draw((2, 2), 1, ("x", "y"), lambda axes: axes[0].set_yscale("log"))
    figure.savefig(io.BytesIO(), format="png")
    assert any("10^{" in label.get_text() for label in figure.axes[0].get_yticklabels())


def finalists() -> Figure:
    """A figure that is laid out anew at each resolution, from where it was."""
    trials = [trial(0, GNNConfig(), 0.5, role=Baseline(0)), trial(1, GNNConfig(width=40), 0.9)]
    seeds = [(of, seed) for seed in (1, 2, 3) for of in (0, 1)]
    trained = [
        trial(number, GNNConfig(seed=seed), 0.4 + 0.1 * number, role=Replicate(of, seed))
        for number, (of, seed) in enumerate(seeds, start=2)
    ]
    dice = np.random.default_rng(0)
    artifacts = Artifacts("", "s")
    for final in trained:
        errors = dice.random(12) ** 2 * (final.number + 1) / 9
        artifacts.known[final.number] = Outcomes(errors, np.linspace(0.1, 2, 12))
    study = replace(study_of(trials, trained), artifacts=artifacts)
    found = finals.outcome(study)
    assert found is not None
    return finals.draw(found, study)


def test_a_figure_is_the_same_in_whichever_order_it_is_saved(tmp_path: Path) -> None:
    first, other = finalists(), finalists()
    on_the_page = web_page.svg("finals", first)
    (tmp_path / "first").mkdir()
    (tmp_path / "other").mkdir()
    files = style.save(first, tmp_path / "first" / "finals")
    for file in style.save(other, tmp_path / "other" / "finals"):
        assert file.read_bytes() == (tmp_path / "first" / file.name).read_bytes()
    assert len(files) == 2
    assert web_page.svg("finals", other) == web_page.svg("finals", first) == on_the_page
