"""Published results: those that can be compared with a study stand beside it, and no others."""

from typing import Any

from recorded_study import study_of, trial

from analysis.published import FROM_GEOMETRY, FROM_QUANTUM_CHEMISTRY, of_dipoles
from trainables.models.gnn import GNNConfig

TRIALS = [trial(0, GNNConfig(), 0.5)]


def models(**params: Any) -> set[str]:
    return {model for model, *_ in of_dipoles(study_of(TRIALS, **params)).rows}


def test_models_that_see_more_than_the_geometry_stand_beside_studies_with_a_prior_alone() -> None:
    geometry = {each.model for each in FROM_GEOMETRY}
    more = {each.model for each in FROM_QUANTUM_CHEMISTRY}
    assert geometry < models()
    assert not models() & more
    assert models(**{"data.prior": "gfn2"}) == more


def test_errors_are_in_order() -> None:
    for errors in (FROM_GEOMETRY, FROM_QUANTUM_CHEMISTRY):
        values = [each.mae for each in errors]
        assert values == sorted(values, reverse=True)
