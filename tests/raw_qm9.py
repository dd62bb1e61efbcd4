"""Writes raw files in QM9's format from generated molecules, which need no download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rdkit import Chem
from rdkit.Geometry import Point3D

NAMES = ("gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt")

HEADER = (
    "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom,u298_atom,"
    "h298_atom,g298_atom"
)


def write_raw(rows: pa.Table, folder: Path, left_out: Sequence[int]) -> None:
    """Writes the three raw files of QM9, with random properties.

    Args:
        rows: A molecule table without bonds.
        folder: Folder to create; it must not exist yet.
        left_out: Indices of the rows to list as uncharacterised.
    """
    folder.mkdir(parents=True)
    _write_sdf(rows, folder / NAMES[0])
    numbers = np.random.default_rng(0).normal(scale=300, size=(rows.num_rows, 19))
    lines = [f"gdb_{row},{','.join(map(str, each))}" for row, each in enumerate(numbers, 1)]
    (folder / NAMES[1]).write_text("\n".join([HEADER, *lines, ""]))
    entries = [f"{row + 1:>9}   C1CC1   C1CC1   0.1 0.2 0.3" for row in left_out]
    (folder / NAMES[2]).write_text("\n".join([*["a header"] * 9, *entries, "-" * 40, ""]))


def _write_sdf(rows: pa.Table, path: Path) -> None:
    """Writes an SDF file in which molecules have, in turn, alternating bonds as in QM9 (the first)
    and aromatic bonds."""
    with Chem.SDWriter(str(path)) as writer:
        for place, row in enumerate(rows.to_pylist()):
            molecule = Chem.AddHs(Chem.MolFromSmiles(row["smiles"]))
            shape = Chem.Conformer(molecule.GetNumAtoms())
            for atom, xyz in enumerate(np.array(row["positions"]).reshape(-1, 3).tolist()):
                shape.SetAtomPosition(atom, Point3D(*xyz))
            molecule.AddConformer(shape)
            molecule.SetProp("_Name", f"gdb_{place + 1}")
            writer.SetKekulize(place % 2 == 0)
            writer.write(molecule)
