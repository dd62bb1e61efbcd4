"""The embedded data set: which molecules it holds, in which order, and how they are labelled."""

from itertools import islice

import numpy as np
import pytest
from rdkit import Chem
from tblite.exceptions import TBLiteRuntimeError
from threadpoolctl import threadpool_info

from datasets import gfn2
from datasets.errors import InputError
from datasets.molecules import ragged, target_unit

SIZE = 80
SEED = 7

EXAMPLES = {
    "N or another heteroatom beside N on one sp3 carbon": "CNCOC",
    "cumulated double bonds": "CC=C=C",
    "hemiacetal, hemiaminal or fluorohydrin carbon": "CC(O)OC",
    "triple bond in a ring": "C1CCC#CCC1",
    "double bond at a ring of three": "CC1=CC1",
    "enamine": "CC=CN",
    "enol": "CC=CO",
    "double bond at a bridgehead": "C1CC2=CCC1C2",
    "enediol": "COC=COC",
    "azadiene": "CC=NC=CC",
    "ketene acetal": "COC(OC)=CC",
    "imine with hydrogen at N": "CC(C)=N",
    "hydroxyl at an aromatic ring of five": "Oc1ccco1",
    "imine nitrogen beside a heteroatom": "CC=NCOC",
    "methanimine": "C=NCC",
    "heteroatom at the carbon of an epoxide or aziridine": "COC1CO1",
    "oxygen or fluorine at an alkyne or nitrile": "COC#CC",
    "hydroxylamine": "CN(C)OC",
    "alpha-fluoro ether": "COCF",
    "carbonic or carbamic acid": "CNC(=O)O",
    "imidic acid": "CC(O)=NC",
    "cyclopentadiene": "C1C=CC=C1",
    "nitroso": "CN=O",
    "nitrogen at an alkyne": "CN(C)C#C",
    "imine in a ring of four": "C1CC=N1",
    "hydrazine": "CN(C)N(C)C",
    "cyclobutenone": "O=C1C=CC1",
    "acyl fluoride": "CC(=O)F",
    "two heteroatoms across a ring of four": "C1OCO1",
    "peroxide": "COOC",
    "cyclobutadiene": "C1=CC=C1",
    "fluorine at a heteroatom": "CN(C)F",
    "amide at a bridgehead": "O=C1CC2CCN1CC2",
    "three carbonyls or nitriles in a row": "O=CC(=O)C=O",
    "acylated cyanamide": "CC(=O)NC#N",
    "double bond to carbon or nitrogen out of an aromatic ring": "N=c1cc[nH]cc1",
    "chain of three heteroatoms": "c1c[nH]nn1",
    "orthoester": "COC(OC)OC",
    "azo group": "CN=NC",
    "imine at a nitrile": "CC=NC#N",
    "anhydride": "CC(=O)OC(C)=O",
    "fulvene": "C=C1C=CC=C1",
    "bridged aromatic ring": "c1c2c[nH]c1CC2",
    "two double bonds out of a ring of four": "C=C1CCC1=O",
    "ortho tautomer of an aromatic ring": "O=C1C=CC=CC1",
    "para tautomer of an aromatic ring": "O=C1C=CCC=C1",
}
"""One molecule a banned motif."""

WELCOME = (
    "c1ccc2[nH]ccc2c1",
    "Cn1ccnc1",
    "O=c1cccc[nH]1",
    "CC(=O)O",
    "CC(=O)NC",
    "COC(=O)C#N",
    "CCC=NO",
    "CC(F)(F)F",
    "COC(C)OC",
    "C1CC2C=CC1C2",
    "CC(C)=NN",
    "NC(=O)N",
    "C1CO1",
    "CC(C)(C)C#C",
    "O=C1CCCCC1",
    "c1cnoc1",
    "CC(=N)N",
)
"""Molecules from a chemist's shelf that the filter must let through."""


@pytest.fixture(scope="module")
def generated() -> gfn2.Generated:
    return gfn2.generate(SIZE, SEED)


@pytest.fixture(scope="module")
def drawn() -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(smiles) for smiles in islice(gfn2.candidates(SEED), 1000)]


def backwards(function, items):
    """A parallel map whose workers happen to finish last things first."""
    return reversed([function(item) for item in reversed(items)])


def is_banned(smiles: str, motif: str) -> bool:
    pattern = Chem.MolFromSmarts(gfn2.BANNED[motif])
    return Chem.MolFromSmiles(smiles).HasSubstructMatch(pattern)


def test_the_table_depends_neither_on_the_chunks_nor_on_their_order(generated, monkeypatch):
    monkeypatch.setattr(gfn2, "CHUNK_SIZE", 7)
    assert gfn2.generate(SIZE, SEED, backwards).table.equals(generated.table)


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(generated):
    assert gfn2.generate(20, SEED).table.equals(generated.table.slice(0, 20))


def test_different_seeds_give_different_molecules(generated):
    smiles = set(islice(gfn2.candidates(SEED + 1), SIZE))
    assert len(smiles & set(generated.table["smiles"].to_pylist())) < SIZE // 2


def test_the_geometry_depends_on_the_seed():
    geometries = [gfn2.conformer("CCC(O)C1CO1", seed)[1] for seed in range(4)]
    assert len({geometry.tobytes() for geometry in geometries}) == 4


def test_the_caller_is_given_all_chunks_of_a_round_at_once():
    rounds = []

    def counting(function, items):
        rounds.append([len(chunk) for chunk in items])
        return map(function, items)

    gfn2.generate(40, SEED, counting)
    assert rounds == [[32, 8]]


def test_molecules_are_distinct_and_their_smiles_canonical(drawn):
    smiles = [Chem.MolToSmiles(molecule) for molecule in drawn]
    assert smiles == list(islice(gfn2.candidates(SEED), len(drawn)))
    assert len(set(smiles)) == len(drawn)


def test_molecules_are_neutral_connected_and_of_three_to_nine_heavy_atoms(drawn):
    for molecule in drawn:
        symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
        assert set(symbols) <= set("CNOF")
        assert "C" in symbols
        assert 3 <= len(symbols) <= 9
        assert len(Chem.GetMolFrags(molecule)) == 1
        assert not any(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        assert not any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def test_molecules_are_about_as_large_as_those_of_qm9(drawn):
    atoms = [Chem.AddHs(molecule).GetNumAtoms() for molecule in drawn]
    assert 15 < np.mean(atoms) < 18.5  # QM9: 18.0


def test_every_banned_motif_has_an_example():
    assert set(EXAMPLES) == set(gfn2.BANNED)


@pytest.mark.parametrize("motif", EXAMPLES)
def test_the_filter_finds_the_banned_motif(motif):
    assert is_banned(EXAMPLES[motif], motif)


@pytest.mark.parametrize("smiles", WELCOME)
def test_the_filter_lets_a_familiar_molecule_pass(smiles):
    assert [motif for motif in gfn2.BANNED if is_banned(smiles, motif)] == []


@pytest.mark.parametrize("smarts", ["OO", "NNN", "[N,O]F", "C=C=C", "[r]#[r]", "[r3]=*", "O[N]O"])
def test_no_molecule_has_an_absurd_motif(drawn, smarts):
    pattern = Chem.MolFromSmarts(smarts)
    assert not any(molecule.HasSubstructMatch(pattern) for molecule in drawn)


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
    numbers, positions = gfn2.conformer("CC(O)C1CCC(=O)O1", SEED)
    rotation, _ = np.linalg.qr(np.random.default_rng(SEED).normal(size=(3, 3)))
    moved = positions.astype(np.float64) @ rotation + [3.0, -2.0, 1.0]
    reference = gfn2.dipole(numbers, positions)
    # The cycles to self-consistency are the same ones, so only rounding differs.
    assert gfn2.dipole(numbers, moved) == pytest.approx(reference, abs=1e-9)


def test_molecules_without_mmff_parameters_are_relaxed_by_uff():
    numbers, positions = gfn2.conformer("CB(C)C", SEED)
    assert numbers.tolist() == [6, 5, 6, 6] + [1] * 9
    assert np.linalg.norm(positions[0] - positions[1]) == pytest.approx(1.57, abs=0.1)  # B-C


@pytest.mark.parametrize("smiles", ["", "x", "C1CC", "CN(C)(C)C", "C.C", "[CH3]", "C[NH3+]"])
def test_what_is_no_neutral_molecule_is_refused(smiles, capfd):
    with pytest.raises(InputError, match="expected the SMILES of one neutral molecule"):
        gfn2.conformer(smiles, SEED)
    assert capfd.readouterr().err == ""


def test_a_molecule_without_conformer_is_refused_by_name():
    with pytest.raises(InputError, match="no conformer for SMILES 'C1#CC1'"):
        gfn2.conformer("C1#CC1", SEED)


@pytest.mark.parametrize(("size", "seed"), [(0, 0), (-5, 0), (1, -1), (1, 2**31 - 1)])
def test_size_and_seed_out_of_range_are_refused(size, seed):
    with pytest.raises(InputError, match=r"expected .* got"):
        gfn2.generate(size, seed)


def test_failed_candidates_are_counted_and_replaced_by_the_next_ones(generated, monkeypatch):
    def dipole(atomic_numbers, _):
        if 7 in atomic_numbers:
            raise TBLiteRuntimeError("SCF not converged")
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
    monkeypatch.setattr(gfn2, "MAX_RELAXATION_STEPS", 1)
    chunk = gfn2.Chunk(("CCCCCO", "CCO"), SEED)
    assert gfn2.label_molecules(chunk) == ["not relaxed", "not relaxed"]


def test_an_exhausted_space_says_how_many_molecules_there_are(monkeypatch):
    monkeypatch.setattr(gfn2, "SIZES", {3: 1})
    monkeypatch.setattr(gfn2, "PATIENCE", 500)
    available = len(list(gfn2.candidates(SEED)))
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
