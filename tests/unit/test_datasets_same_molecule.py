"""One molecule is one molecule, however it is written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rdkit import Chem

from datasets.cache import Cache
from datasets.same_molecule import canonical, first_writings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CCO", "OCC"),
        ("CCO", "C(O)C"),
        ("CCO", "[CH3][CH2][OH]"),
        ("CCO", "[H]OC([H])([H])C([H])([H])[H]"),
        ("CCO", "[CH3:1][CH2:2][OH:7]"),
        ("CCO", "[CH3:1][CH2:2][O:3][H:4]"),
        ("CCO", "CCO ethanol"),
        ("CCO", "OCC\tgdb_14"),
        ("CCO", " CCO |$a;b;c$| ethanol\n"),
        ("CCO", "CCO |no extension"),
        ("c1ccccc1O", "OC1=CC=CC=C1"),
        ("c1ccccc1O", "C1=CC=CC(O)=C1"),
        ("C[N+](=O)[O-]", "CN(=O)=O"),
        ("[CH3:1]C(O)(F)[CH3:2]", "CC(C)(O)F"),
        ("[CH3:1][C@](O)(F)[CH3:2]", "CC(C)(O)F"),
        ("C[C@H](O)F", "O[C@@H](C)F"),
        ("F/C=C/F", "F\\C=C\\F"),
        ("C1CC1", "C%11CC%11"),
    ],
)
def test_a_molecule_is_the_same_in_two_writings(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CCO", "COC"),
        ("C[C@H](O)F", "C[C@@H](O)F"),
        ("F/C=C/F", "F/C=C\\F"),
        ("CC(=O)C", "CC(O)=C"),
        ("C", "[2H]C"),
        ("CN", "C[NH3+]"),
    ],
)
def test_isomers_isotopes_and_ions_are_molecules_of_their_own(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_what_rdkit_rejects_is_known_by_its_text() -> None:
    for text in ("", " ", "not a SMILES", "C(C)(C)(C)(C)C", "molecule 7"):
        assert canonical(text) == text


def test_keys_are_equal_where_molecules_are(tmp_path: Path) -> None:
    keys = first_writings(["OCC", "CC", "CCO", "x", "CCO ethanol", "x"], Cache(tmp_path))
    assert keys[0] == keys[2] == keys[4] and keys[3] == keys[5]
    assert len({*keys.tolist()}) == 3


def test_molecules_that_are_written_in_one_way_have_the_order_of_their_texts(
    molecule_rows: pa.Table, tmp_path: Path
) -> None:
    """So that their split is the one that it was when texts were the keys."""
    smiles = molecule_rows.column("smiles").to_pylist() * 2
    keys = first_writings(smiles, Cache(tmp_path))
    np.testing.assert_array_equal(keys, np.unique(smiles, return_inverse=True)[1])


def test_rdkit_is_asked_once(tmp_path: Path) -> None:
    def refused(function, items):
        raise AssertionError(f"{function.__name__} was asked again")

    texts = ["CCO", "OCC", "C"]
    first = first_writings(texts, Cache(tmp_path))
    np.testing.assert_array_equal(first_writings(texts, Cache(tmp_path), refused), first)
    with pytest.raises(AssertionError, match="canonicalise_smiles was asked again"):
        first_writings([*texts, "N"], Cache(tmp_path), refused)


def test_texts_of_several_lines_are_not_taken_for_several_texts(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert len(first_writings(["C\nN"], cache)) == 1
    assert len(first_writings(["C", "N"], cache)) == 2


def test_random_writings_of_generated_molecules_are_found_to_be_the_same(
    molecule_rows: pa.Table, tmp_path: Path
) -> None:
    smiles = molecule_rows.column("smiles").to_pylist()
    molecules = [Chem.AddHs(Chem.MolFromSmiles(each)) for each in smiles[::2]]
    others = [
        Chem.MolToSmiles(molecule, doRandom=True, kekuleSmiles=place % 2 == 0)
        for place, molecule in enumerate(molecules)
    ]
    keys = first_writings([*smiles, *others], Cache(tmp_path))
    np.testing.assert_array_equal(keys[: len(smiles)][::2], keys[len(smiles) :])
