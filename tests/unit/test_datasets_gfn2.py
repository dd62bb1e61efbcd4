"""The embedded data set: which molecules it holds, in which order, and how they are labelled."""

from itertools import islice

import numpy as np
import pytest
from rdkit import Chem
from threadpoolctl import threadpool_info

from datasets import conformers, gfn2, molecule_grammar
from datasets.conformers import conformer
from datasets.errors import InputError
from datasets.molecule_grammar import candidates
from datasets.molecules import ragged, target_unit
from datasets.xtb import SinglePointError

SIZE = 80
SEED = 7


@pytest.fixture(scope="module")
def generated() -> gfn2.Generated:
    return gfn2.generate(SIZE, SEED)


def backwards(function, items):
    """A parallel map whose workers happen to finish last things first."""
    return reversed([function(item) for item in reversed(items)])


def test_the_table_depends_neither_on_the_chunks_nor_on_their_order(generated, monkeypatch):
    monkeypatch.setattr(gfn2, "CHUNK_SIZE", 7)
    assert gfn2.generate(SIZE, SEED, backwards).table.equals(generated.table)


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(generated):
    assert gfn2.generate(20, SEED).table.equals(generated.table.slice(0, 20))


def test_different_seeds_give_different_molecules(generated):
    smiles = set(islice(candidates(SEED + 1), SIZE))
    assert len(smiles & set(generated.table["smiles"].to_pylist())) < SIZE // 2


def test_the_caller_is_given_all_chunks_of_a_round_at_once():
    rounds = []

    def counting(function, items):
        rounds.append([len(chunk) for chunk in items])
        return map(function, items)

    gfn2.generate(40, SEED, counting)
    assert rounds == [[32, 8]]


def test_atoms_stand_in_the_order_of_the_smiles(generated):
    table = generated.table
    for row in table.slice(0, 30).to_pylist():
        molecule = Chem.AddHs(Chem.MolFromSmiles(row["smiles"]))
        assert row["atomic_numbers"] == [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
        positions = np.array(row["positions"]).reshape(-1, 3)
        for bond in molecule.GetBonds():
            length = np.linalg.norm(
                positions[bond.GetBeginAtomIdx()] - positions[bond.GetEndAtomIdx()]
            )
            assert 0.9 < length < 1.7  # from O-H, 0.96 Angstrom, to a strained C-C


def test_the_target_is_the_dipole_moment_of_the_stored_geometry(generated):
    numbers, atoms = ragged(generated.table, "atomic_numbers")
    positions, coordinates = ragged(generated.table, "positions")
    stored = positions[: coordinates[1]].reshape(-1, 3)
    assert target_unit(generated.table, "mu") == "D"
    # The data set was made with one thread, this with several; seen to agree to the last bit.
    assert generated.table["mu"][0].as_py() == pytest.approx(
        gfn2.dipole(numbers[: atoms[1]], stored), abs=1e-9
    )


def test_dipole_moments_spread_as_those_of_qm9(generated):
    mu = generated.table["mu"].to_numpy()
    assert 2 < mu.mean() < 4  # QM9: 2.7 D, standard deviation 1.5 D
    assert mu.std() > 1
    assert mu.min() >= 0


def test_water_has_the_dipole_moment_in_the_documentation_of_xtb():
    """``source/properties.rst`` of grimme-lab/xtb_docs prints 2.167 D and -5.070322 Hartree.

    It does not print the geometry. Bonds of 0.95 Angstrom at the tetrahedral angle reproduce that
    energy to 1e-6 Hartree and the printed direction of the dipole; the value is xtb's own.
    """
    angle = np.arccos(-1 / 3)
    hydrogen = 0.95 * np.array([[0, 0, 1], [np.sin(angle), 0, np.cos(angle)]])
    positions = np.concatenate([np.zeros((1, 3)), hydrogen])
    assert gfn2.dipole(np.array([8, 1, 1]), positions) == pytest.approx(2.167, abs=1e-3)


@pytest.mark.parametrize(
    ("smiles", "experiment"),
    [("O", 1.85), ("N", 1.47), ("CO", 1.70), ("C=O", 2.33), ("C#N", 2.98), ("CC#N", 3.92)],
)
def test_dipole_moments_lie_near_experiment(smiles, experiment):
    """Gas-phase values from the CRC Handbook; GFN2-xTB errs by about half a Debye."""
    assert gfn2.label(smiles, SEED).dipole == pytest.approx(experiment, abs=0.6)


@pytest.mark.parametrize("smiles", ["O=C=O", "c1ccccc1", "N#CC#N", "c1cnccn1"])
def test_molecules_with_a_centre_of_symmetry_have_no_dipole_moment(smiles):
    assert gfn2.label(smiles, SEED).dipole < 0.01  # the geometry is symmetric to 1e-3


def test_the_dipole_moment_is_invariant_to_rotation_and_translation():
    numbers, positions = conformer("CC(O)C1CCC(=O)O1", SEED)
    rotation, _ = np.linalg.qr(np.random.default_rng(SEED).normal(size=(3, 3)))
    moved = positions.astype(np.float64) @ rotation + [3.0, -2.0, 1.0]
    reference = gfn2.dipole(numbers, positions)
    # The cycles to self-consistency are the same ones, so only rounding differs.
    assert gfn2.dipole(numbers, moved) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize(("size", "seed"), [(0, 0), (-5, 0), (1, -1), (1, 2**31 - 1)])
def test_size_and_seed_out_of_range_are_refused(size, seed):
    with pytest.raises(InputError, match=r"expected .* got"):
        gfn2.generate(size, seed)


def test_failed_candidates_are_counted_and_replaced_by_the_next_ones(generated, monkeypatch):
    def dipole(atomic_numbers, _):
        if 7 in atomic_numbers:
            raise SinglePointError("SCF not converged")
        return 1.0

    stream = ["C1#CC1", "C#N", "C1#CN1", *generated.table["smiles"].to_pylist()]
    monkeypatch.setattr(gfn2, "candidates", lambda _: iter(stream))
    monkeypatch.setattr(gfn2, "dipole", dipole)
    result = gfn2.generate(10, SEED)
    labelled = [smiles for smiles in stream[3:] if "n" not in smiles.lower()][:10]
    tried = stream.index(labelled[-1]) + 1
    assert result.table["smiles"].to_pylist() == labelled
    assert result.failures == {"no conformer": 2, "no convergence": tried - 12}
    assert gfn2.generate(4, SEED).table.equals(result.table.slice(0, 4))


def test_an_unrelaxed_geometry_is_a_failure(monkeypatch):
    monkeypatch.setattr(conformers, "MAX_RELAXATION_STEPS", 1)
    chunk = gfn2.Chunk(("CCCCCO", "CCO"), SEED)
    assert gfn2.label_molecules(chunk) == ["not relaxed", "not relaxed"]


def test_an_exhausted_space_says_how_many_molecules_there_are(monkeypatch):
    monkeypatch.setattr(molecule_grammar, "SIZES", {3: 1})
    monkeypatch.setattr(molecule_grammar, "PATIENCE", 500)
    available = len(list(candidates(SEED)))
    with pytest.raises(InputError, match=f"at most {available} molecules at seed {SEED}, got 999"):
        gfn2.generate(999, SEED)


def test_a_chunk_is_labelled_by_one_thread_and_in_silence(monkeypatch, capfd):
    threads = []
    dipole = gfn2.dipole

    def watched(atomic_numbers, positions):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return dipole(atomic_numbers, positions)

    monkeypatch.setattr(gfn2, "dipole", watched)
    gfn2.label_molecules(gfn2.Chunk(("CCO", "CB(C)C"), SEED))
    assert set(threads) == {1}
    assert capfd.readouterr() == ("", "")
