"""Figures show the texts of users as they are."""

import io

import pytest
from matplotlib.figure import Figure

from analysis import style


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
