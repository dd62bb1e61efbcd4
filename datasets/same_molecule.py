"""Finds the rows of a table that are the same molecule, however its SMILES is written.

Merged tables may contain several valid SMILES of one molecule: with another order of atoms,
explicit hydrogens, aromatic or alternating rings, atom map numbers, or a name after the SMILES.
Rows of one molecule must not be in two parts of a split.
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
"""Version of the comparison, part of the cache's name; to be raised when other SMILES count as the
same molecule."""

CHUNK = 2000
"""SMILES per work item: under half a second on one core."""


def text_keys(smiles: Sequence[str]) -> np.ndarray:
    """Returns the index of each row's SMILES among the sorted distinct texts: (rows,) int64."""
    places = {text: place for place, text in enumerate(sorted(set(smiles)))}
    return np.array([places[text] for text in smiles], np.int64)


def first_writings(smiles: Sequence[str], cache: Cache, parallel: ParallelMap = map) -> np.ndarray:
    """Returns, for each row, which SMILES text represents its molecule; results are cached.

    Args:
        smiles: One SMILES per row.
        cache: Cache of the results, which are named after a digest of the texts.
        parallel: Maps RDKit over the texts.

    Returns:
        (rows,) int64: the index, as in `text_keys`, of the first of the molecule's texts.
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
    """Applies `canonical` to each SMILES, with RDKit's log messages suppressed."""
    with rdBase.BlockLogs():
        return [canonical(each) for each in smiles]


def canonical(smiles: str) -> str:
    """Returns RDKit's canonical SMILES, without explicit hydrogens, atom map numbers or a name; a
    text that RDKit rejects is returned as it is."""
    words = smiles.split(maxsplit=1)
    molecule = Chem.MolFromSmiles(words[0]) if words else None
    if molecule is None:
        return smiles
    if not any(atom.GetAtomMapNum() for atom in molecule.GetAtoms()):
        return Chem.MolToSmiles(molecule)
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    # Parsed again: RDKit had kept hydrogens with map numbers, and distinguished atoms by them.
    return canonical(Chem.MolToSmiles(molecule))


def _save(found: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    np.save(content, found)
    write_whole(path, content.getbuffer())
