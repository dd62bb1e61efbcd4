"""The proposals that are written down in tests/data/proposals are what the search is held to."""

from collections import Counter

import pytest
from old_proposals import RECORDINGS, recorded


@pytest.mark.parametrize("name", RECORDINGS)
def test_all_that_can_happen_to_a_trial_is_written_down(name: str) -> None:
    kinds = Counter(happening.get("state", next(iter(happening))) for happening in recorded(name))
    assert {"finished", "pruned", "failed", "infeasible", "left", "continued"} <= kinds.keys()
    finals = sum("of" in happening for happening in recorded(name))
    assert kinds["proposed"] - finals == 200
    assert finals >= 6
