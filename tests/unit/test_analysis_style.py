"""Figures show the texts of users as they are, and are the same wherever they are saved."""

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis import style, web_page


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


def test_a_figure_is_the_same_in_whichever_order_it_is_saved(tmp_path: Path) -> None:
    """At another resolution it is laid out anew, from where it was."""

    def finals() -> Figure:
        figure = Figure((6.4, 2.1), layout="constrained")
        axis = figure.subplots()
        axis.plot([0.1234, 0.5678], [0, 1], label="test")
        axis.set_yticks(range(2), ["a long configuration of a trial", "another one"])
        figure.legend(loc="outside lower center", ncols=2)
        return figure

    first, other = finals(), finals()
    on_the_page = web_page.svg("finals", first)
    (tmp_path / "first").mkdir()
    (tmp_path / "other").mkdir()
    files = style.save(first, tmp_path / "first" / "finals")
    for file in style.save(other, tmp_path / "other" / "finals"):
        assert file.read_bytes() == (tmp_path / "first" / file.name).read_bytes()
    assert len(files) == 2
    assert web_page.svg("finals", other) == web_page.svg("finals", first) == on_the_page
