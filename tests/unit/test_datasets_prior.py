"""The prior of molecules: what is computed, kept, left out and refused."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import prior, xtb
from datasets.errors import InputError
from datasets.graphs import Graphs
from datasets.prior import check_no_leak, moments_of, with_moments, with_prior
from datasets.sources import MoleculeOptions, MoleculeSet
from datasets.xtb import SinglePoint, SinglePointError, single_point

WATER = np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0, 0.95], [0.896, 0, -0.317]], np.float32)


@pytest.fixture
def graphs(molecules: MoleculeSet) -> Graphs:
    return molecules.graphs


def test_the_dipole_moment_turns_with_the_molecule_and_charges_do_not() -> None:
    numbers, positions = WATER
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    here, there = single_point(numbers, positions), single_point(numbers, positions @ turn + 2.0)
    np.testing.assert_allclose(there.dipole, here.dipole @ turn, atol=1e-5)
    np.testing.assert_allclose(there.charges, here.charges, atol=1e-6)
    assert here.charges.sum() == pytest.approx(0, abs=1e-9)
    assert here.charges[0] < 0 < here.charges[1]


def test_the_molecules_of_the_embedded_source_have_their_own_labels_as_prior(
    graphs: Graphs, tmp_path: Path
) -> None:
    made, failed = with_prior(graphs, tmp_path)
    assert failed == 0 and made.prior is not None and made.charges is not None
    lengths = np.linalg.norm(made.prior, axis=1)
    np.testing.assert_allclose(lengths, graphs.targets, atol=1e-4)
    assert len(made.charges) == len(graphs.positions)
    with pytest.raises(InputError, match="mu is GFN2-xTB's own dipole moment here"):
        check_no_leak(made, "mu")
    check_no_leak(replace(made, targets=graphs.targets * 1.1 + 0.1), "mu")


def test_it_is_computed_once(
    graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = with_prior(graphs, tmp_path)
    monkeypatch.setattr(prior, "single_point", None)
    again, _ = with_prior(graphs, tmp_path)
    assert (again.prior == first.prior).all() and (again.charges == first.charges).all()


def test_it_does_not_depend_on_the_chunks(graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = moments_of(graphs)
    monkeypatch.setattr(prior, "CHUNK", 7)
    parts = moments_of(graphs)
    np.testing.assert_allclose(parts.dipoles, whole.dipoles, atol=1e-5)
    np.testing.assert_allclose(parts.charges, whole.charges, atol=1e-6)


def not_for_nitrogen(numbers: np.ndarray, positions: np.ndarray) -> SinglePoint:
    if 7 in numbers:
        raise SinglePointError("planted")
    return SinglePoint(np.ones(3), np.arange(len(numbers), dtype=float))


def test_molecules_that_do_not_converge_are_left_out(
    graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prior, "single_point", not_for_nitrogen)
    made, failed = with_prior(graphs, tmp_path)
    nitrogen = [
        7 in graphs.node_features[slice(*graphs.node_offsets[g : g + 2]), 5]
        for g in range(len(graphs))
    ]
    assert failed == sum(nitrogen) > 0
    assert made.rows.tolist() == graphs.rows[~np.array(nitrogen)].tolist()
    for place, row in enumerate(made.rows):
        (old,) = np.flatnonzero(graphs.rows == row)
        for offsets, name in (("node_offsets", "positions"), ("edge_offsets", "edge_types")):
            mine = getattr(made, name)[slice(*getattr(made, offsets)[place : place + 2])]
            its = getattr(graphs, name)[slice(*getattr(graphs, offsets)[old : old + 2])]
            assert (mine == its).all()
        atoms = slice(*made.node_offsets[place : place + 2])
        assert made.charges is not None
        assert made.charges[atoms].tolist() == list(range(atoms.stop - atoms.start))


def test_no_molecule_that_converges_is_refused(
    graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any) -> SinglePoint:
        raise SinglePointError("planted")

    monkeypatch.setattr(prior, "single_point", never)
    with pytest.raises(InputError, match="fails for all of the molecules"):
        with_moments(graphs, moments_of(graphs))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_cut_off_cache_is_one_line(graphs: Graphs, tmp_path: Path, content: bytes) -> None:
    with_prior(graphs, tmp_path)
    (file,) = tmp_path.glob("prior-*.npz")
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"prior-gfn2-.*\.npz is damaged .*: remove it"):
        with_prior(graphs, tmp_path)


def test_without_tblite_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(InputError, match=r"GFN2-xTB needs tblite, .* pip install tblite"):
        single_point(*WATER)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": "gfn2", "prior": "gfn2"}, "whose labels are by that method"),
        ({"dataset": "qm9", "target": "gap", "prior": "gfn2"}, "but gap is in eV"),
        ({"dataset": "qm9", "prior": "gfn1"}, "unknown --prior gfn1: expected none or gfn2"),
    ],
)
def test_what_a_prior_does_not_suit_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MoleculeOptions(**options)


def test_a_molecule_whose_field_does_not_converge_says_so() -> None:
    """Two hydrogens in one place."""
    numbers, positions = np.array([1, 1]), np.zeros((2, 3), np.float32)
    with pytest.raises(SinglePointError):
        xtb.single_point(numbers, positions)


def test_a_molecule_with_an_unpaired_electron_is_none_of_a_closed_shell() -> None:
    with pytest.raises(SinglePointError, match="an odd number of electrons"):
        single_point(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 0.97]]))
