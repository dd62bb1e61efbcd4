"""Which rows of a table are of one molecule, however its SMILES is written.

Joined tables write a molecule in several valid ways: atoms in another order, hydrogens explicit,
rings aromatic or alternating, atoms with map numbers, a name behind the SMILES. Rows of one
molecule must not be in two parts of a split.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from datasets.cache import Cache
from datasets.files import write_whole
from datasets.parallel import ParallelMap

VERSION = 1
"""Goes into the cache's name: raise it when other SMILES count as one molecule."""

CHUNK = 2000
"""SMILES a work item: under half a second of one core."""


def text_keys(smiles: Sequence[str]) -> np.ndarray:
    """The place of each row's text among the distinct texts in their order: (rows,) int64."""
    places = {text: place for place, text in enumerate(sorted(set(smiles)))}
    return np.array([places[text] for text in smiles], np.int64)


def first_writings(smiles: Sequence[str], cache: Cache, parallel: ParallelMap = map) -> np.ndarray:
    """The text that stands for the molecule of each row, from the cache if it lies there.

    Args:
        smiles: One a row.
        cache: Keeps what is found, named after the texts.
        parallel: Runs RDKit over the texts.

    Returns:
        (rows,) int64: of the texts of a molecule the first, as in `text_keys`.
    """
    digest = hashlib.sha256(json.dumps(list(smiles)).encode()).hexdigest()[:16]
    name = f"same-molecules-{digest}-v{VERSION}.npy"
    path = cache.get(name, lambda path: _save(_first_writings(smiles, parallel), path))
    return np.load(path)


def _first_writings(smiles: Sequence[str], parallel: ParallelMap) -> np.ndarray:
    texts = sorted(set(smiles))
    chunks = [texts[first : first + CHUNK] for first in range(0, len(texts), CHUNK)]
    names = [name for part in parallel(canonicalise_smiles, chunks) for name in part]
    first_of: dict[str, int] = {}
    key_of = {
        text: first_of.setdefault(name, place)
        for place, (text, name) in enumerate(zip(texts, names, strict=True))
    }
    return np.array([key_of[text] for text in smiles], np.int64)


def canonicalise_smiles(smiles: Sequence[str]) -> list[str]:
    """Applies `canonical` to each SMILES, without RDKit's messages."""
    with rdBase.BlockLogs():
        return [canonical(each) for each in smiles]


def canonical(smiles: str) -> str:
    """The molecule as RDKit writes it, without what is not the molecule: hydrogens that are
    explicit, map numbers of atoms, a name. The text itself where RDKit rejects it."""
    words = smiles.split(maxsplit=1)
    molecule = Chem.MolFromSmiles(words[0]) if words else None
    if molecule is None:
        return smiles
    if not any(atom.GetAtomMapNum() for atom in molecule.GetAtoms()):
        return Chem.MolToSmiles(molecule)
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    # Read again: RDKit keeps hydrogens for their numbers, and tells atoms apart by them.
    return canonical(Chem.MolToSmiles(molecule))


def _save(found: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    np.save(content, found)
    write_whole(path, content.getbuffer())
