"""The molecule table: the one form in which molecules enter the project, and its features.

A table (Arrow in memory, Parquet on disk) has one row a molecule:

    smiles          string         SMILES without hydrogens
    atomic_numbers  list<int8>     one an atom, hydrogens explicit, in the order that RDKit's
                                   ``AddHs(MolFromSmiles(smiles))`` gives them
    positions       list<float32>  flat x, y, z an atom, in Angstrom
    bonds           list<int8>     may be absent: flat source, target, type of each bond, once, not
                                   once a direction; types 0 single, 1 double, 2 triple, 3 aromatic
    (targets)       floating       any number of columns; the unit stands in the field's metadata
                                   under ``unit``, or is QM9's where the column has QM9's name

The geometry comes from the positions. Without ``bonds``, bonds, hybridisation and aromaticity come
from the SMILES; with them the SMILES only names the molecule, and may write the hydrogens.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.errors import InputError

QM9_UNITS = {
    "mu": "D",
    "alpha": "Bohr^3",
    "homo": "Hartree",
    "lumo": "Hartree",
    "gap": "Hartree",
    "r2": "Bohr^2",
    "zpve": "Hartree",
    "u0": "Hartree",
    "u298": "Hartree",
    "h298": "Hartree",
    "g298": "Hartree",
    "cv": "cal/(mol K)",
    "A": "GHz",
    "B": "GHz",
    "C": "GHz",
}
"""Units of QM9's columns (Ramakrishnan et al. 2014, doi:10.1038/sdata.2014.22, table 3)."""

STRUCTURE = ("smiles", "atomic_numbers", "positions")

BONDS = "bonds"
"""The column of bonds, if a table has one."""

LISTED_BOND_TYPES = 4
"""Bond types that a table can list, see `datasets.graphs.BOND_TYPES`."""


def molecule_table(
    smiles: Sequence[str],
    atomic_numbers: Sequence[np.ndarray],
    positions: Sequence[np.ndarray],
    targets: Mapping[str, tuple[np.ndarray, str]],
    bonds: Sequence[np.ndarray] | None = None,
) -> pa.Table:
    """Builds a table from one array a molecule.

    Args:
        smiles: One SMILES a molecule, without explicit hydrogens unless `bonds` are given.
        atomic_numbers: Arrays of shape (atoms,).
        positions: Arrays of shape (atoms, 3), in Angstrom.
        targets: Name -> (values of shape (molecules,), unit).
        bonds: Arrays of shape (bonds, 3): source, target and type; None for a table without.
    """
    fields = [
        pa.field("smiles", pa.string()),
        pa.field("atomic_numbers", pa.list_(pa.int8())),
        pa.field("positions", pa.list_(pa.float32())),
        *([] if bonds is None else [pa.field(BONDS, pa.list_(pa.int8()))]),
        *(
            pa.field(name, pa.float64(), metadata={"unit": unit})
            for name, (_, unit) in targets.items()
        ),
    ]
    columns = [
        list(smiles),
        [np.asarray(numbers, np.int8) for numbers in atomic_numbers],
        [np.asarray(xyz, np.float32).reshape(-1) for xyz in positions],
        *([] if bonds is None else [[np.asarray(each, np.int8).reshape(-1) for each in bonds]]),
        *(np.asarray(values, np.float64) for values, _ in targets.values()),
    ]
    schema = pa.schema(fields)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a molecule table beside and then renames it: whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    pq.write_table(table, beside)
    beside.rename(path)


def read_table(path: Path, target: str | None = None) -> pa.Table:
    """Reads a molecule table from Parquet and checks that it is one.

    Args:
        path: Of the file.
        target: The one target to read; None for all columns.

    Raises:
        InputError: If the file is absent, unreadable, truncated, empty, lacks a column of the
            schema or the target, has positions that are not three finite numbers an atom, or
            bonds that are not those of its atoms.
    """
    if not path.is_file():
        raise InputError(f"no file {path}: expected a Parquet file of molecules")
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow, target, path)
            wanted = None if target is None else [*STRUCTURE, BONDS, target]
            table = file.read(wanted)
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as Parquet, write it again: {detail}") from error
    if table.num_rows == 0:
        raise InputError(f"{path} holds no molecule: expected at least one row")
    _check_structure(table, path)
    return table


def _check_columns(schema: pa.Schema, target: str | None, path: Path) -> None:
    missing = [name for name in STRUCTURE if name not in schema.names]
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(schema.names)}; the schema is in datasets/molecules.py"
        )
    if target is not None:
        _check_target(schema, target)


def _check_structure(table: pa.Table, path: Path) -> None:
    expected = {
        "smiles": _is_text,
        "atomic_numbers": _is_numbers,
        "positions": _is_numbers,
        BONDS: _is_integers,
    }
    for name in table.column_names:
        column = table.column(name)
        if name in expected and (not expected[name](column.type) or column.null_count):
            raise InputError(
                f"{path}: column {name} is {column.type} with {column.null_count} nulls; "
                "expected string (smiles) or lists of numbers, none of them null"
            )
    _check_atoms(table, path)
    if BONDS in table.column_names:
        _check_bonds(table, path)


def _check_atoms(table: pa.Table, path: Path) -> None:
    atoms, atom_offsets = ragged(table, "atomic_numbers")
    coordinates, coordinate_offsets = ragged(table, "positions")
    wrong = np.flatnonzero(np.diff(coordinate_offsets) != 3 * np.diff(atom_offsets))
    if len(wrong):
        raise InputError(f"{path}: row {wrong[0]} does not have three coordinates an atom")
    if not np.isfinite(coordinates).all():
        row = np.searchsorted(coordinate_offsets, np.argmin(np.isfinite(coordinates)), "right")
        raise InputError(f"{path}: row {row - 1} has a position that is not a finite number")
    if len(atoms) and atoms.min() < 1:
        raise InputError(f"{path}: an atomic number is below 1")


def _check_bonds(table: pa.Table, path: Path) -> None:
    flat, offsets = ragged(table, BONDS)
    wrong = np.flatnonzero(np.diff(offsets) % 3)
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0]} has {np.diff(offsets)[wrong[0]]} numbers in bonds; expected "
            "three a bond: source, target and type"
        )
    row = np.repeat(np.arange(table.num_rows), np.diff(offsets) // 3)
    atoms = np.diff(ragged(table, "atomic_numbers")[1])[row]
    source, target, kind = flat.reshape(-1, 3).T
    # Put so that a null, which is read as NaN, is refused too.
    is_atom = (source >= 0) & (source < atoms) & (target >= 0) & (target < atoms)
    for right, expected in (
        (is_atom & (source != target), "two of its own atoms, counted from 0"),
        (np.isin(kind, range(LISTED_BOND_TYPES)), "a type from 0 to 3"),
    ):
        if not right.all():
            bond = np.argmin(right)
            raise InputError(
                f"{path}: row {row[bond]} has the bond {flat.reshape(-1, 3)[bond].tolist()} "
                f"(source, target, type) among {atoms[bond]} atoms; expected {expected}"
            )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (pa.types.is_integer(v := kind.value_type) or pa.types.is_floating(v))


def _is_integers(kind: pa.DataType) -> bool:
    return _is_numbers(kind) and pa.types.is_integer(kind.value_type)


def ragged(table: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """A list column as its flat values and the offsets of shape (rows + 1,)."""
    lists = pa.concat_arrays(table.column(column).chunks)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.values.to_numpy(zero_copy_only=False)
    return values[offsets[0] : offsets[-1]], offsets - offsets[0]


def target_values(table: pa.Table, name: str) -> np.ndarray:
    """One target of every molecule, shape (molecules,), float64, in `target_unit`.

    Raises:
        InputError: If the table has no such target or a value is missing or not finite.
    """
    _check_target(table.schema, name)
    values = table.column(name).to_numpy().astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"target {name} has no finite value in {len(bad)} rows (first: row {bad[0]}); "
            "remove those rows"
        )
    return values


def _check_target(schema: pa.Schema, name: str) -> None:
    available = target_names(schema)
    if name not in available:
        raise InputError(f"no target {name}: this table has {', '.join(available) or 'none'}")


def target_names(schema: pa.Schema) -> list[str]:
    """Names of the floating-point columns, each of which can be a target."""
    return [field.name for field in schema if pa.types.is_floating(field.type)]


def target_unit(table: pa.Table, name: str) -> str:
    """The unit of a target: its field's metadata, else QM9's, else "unit unknown"."""
    metadata = table.schema.field(name).metadata or {}
    return metadata.get(b"unit", QM9_UNITS.get(name, "unit unknown").encode()).decode()


def fingerprint(table: pa.Table, target: str) -> str:
    """SHA-256 (first 16 hex digits) of what a fit sees: structure, geometry and one target.

    Independent of the file's compression, chunks and other columns.
    """
    digest = hashlib.sha256()
    lists = [n for n in ("atomic_numbers", "positions", BONDS) if n in table.column_names]
    for column in lists:
        for part in ragged(table, column):
            digest.update(np.ascontiguousarray(part).tobytes())
    digest.update("\n".join(table.column("smiles").to_pylist()).encode())
    digest.update(target_values(table, target).tobytes())
    return digest.hexdigest()[:16]
