"""The proposals that are written down in tests/data/proposals are those of the search."""

from collections import Counter
from pathlib import Path

import pytest
from old_proposals import RECORDINGS, Happening, happenings, recorded


def rounded(happening: Happening) -> object:
    """A happening whose floats may differ in their last digits, as another processor computes."""
    value = {**happening}
    for key in ("drawn", "config"):
        if key in value:
            value[key] = pytest.approx(value[key], rel=1e-9)
    return value


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_search_proposes_again_what_is_written_down(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    again = happenings(name, tmp_path)
    written = recorded(name)
    assert len(again) == len(written)
    for one, other in zip(again, written, strict=True):
        assert one == rounded(other)


@pytest.mark.parametrize("name", RECORDINGS)
def test_all_that_can_happen_to_a_trial_is_written_down(name: str) -> None:
    kinds = Counter(happening.get("state", next(iter(happening))) for happening in recorded(name))
    assert {"finished", "pruned", "failed", "infeasible", "left", "continued"} <= kinds.keys()
    finals = sum("of" in happening for happening in recorded(name))
    assert kinds["proposed"] - finals == 200
    assert finals >= 6
