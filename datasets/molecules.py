"""The molecule table: the common format of all molecule data sets, with its reader and writer.

A table (Arrow in memory, Parquet on disk) has one row per molecule:

    smiles          string         SMILES without hydrogens
    atomic_numbers  list<int8>     one per atom, hydrogens explicit, in the order of RDKit's
                                   ``AddHs(MolFromSmiles(smiles))``
    positions       list<float32>  flat x, y, z of each atom, in Angstrom
    bonds           list<int8>     optional: flat source, target, type of each bond, listed once,
                                   not in both directions; types 0 single, 1 double, 2 triple,
                                   3 aromatic
    (targets)       number         any number of columns; the unit is in the field's metadata under
                                   ``unit``, or in the table's under ``units``, as in
                                   ``mu D; homo lumo Hartree; cv cal/(mol K)``

Wider number types, and Arrow's other string and list types, are accepted too. The geometry is
taken from the positions. Without ``bonds``, bonds, hybridisation and aromaticity are derived from
the SMILES; with ``bonds``, the SMILES only names the molecule and may contain explicit hydrogens.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.errors import InputError
from datasets.files import written_whole

UNKNOWN = "unit unknown"
"""Placeholder for the unit of a target whose unit is not recorded."""

SHORT_UNITS = {"Debye": "D", "debye": "D"}
"""Long names of units -> the short names used here."""

STRUCTURE = ("smiles", "atomic_numbers", "positions")
"""Names of the required columns."""

BONDS = "bonds"
"""Name of the optional column of bonds."""

MOST_ROWS = 20_000_000
"""Largest number of rows of a table; with 20 atoms each they take 10 GB."""

LISTED_BOND_TYPES = 4
"""Number of bond types that a table can list, see `datasets.graphs.BOND_TYPES`."""


def molecule_table(
    smiles: Sequence[str],
    atomic_numbers: Sequence[np.ndarray],
    positions: Sequence[np.ndarray],
    targets: Mapping[str, tuple[np.ndarray, str]],
    bonds: Sequence[np.ndarray] | None = None,
) -> pa.Table:
    """Builds a molecule table from one array per molecule and column.

    Args:
        smiles: One SMILES per molecule, without explicit hydrogens unless `bonds` are given.
        atomic_numbers: Arrays of shape (atoms,).
        positions: Arrays of shape (atoms, 3), in Angstrom.
        targets: Name -> (values of shape (molecules,), unit).
        bonds: Arrays of shape (bonds, 3): source, target and type; None for a table without bonds.
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
    """Writes a molecule table as Parquet, atomically."""
    with written_whole(path) as beside:
        pq.write_table(table, beside)


def read_table(path: Path, target: str | None = None) -> pa.Table:
    """Reads a molecule table from Parquet and validates it.

    Args:
        path: Path of the file, or of a folder of files, which Arrow reads as one table.
        target: The only target to read; None for all columns.

    Raises:
        InputError: If the file is absent, unreadable, truncated, too large or empty; lacks a
            column of the schema or the target, or has it twice; or has positions that are not
            three finite numbers per atom, or bonds of unknown type or not between its own atoms.
    """
    if not path.exists():
        raise InputError(f"no file {path}: expected a Parquet file of molecules")
    try:
        table = _read(path, target)
        table.validate(full=True)
        table = _in_plain_forms(table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as Parquet, write it again: {detail}") from error
    if table.num_rows == 0:
        raise InputError(f"{path} holds no molecule: expected at least one row")
    _check_structure(table, path)
    return table


def _read(path: Path, target: str | None) -> pa.Table:
    if path.is_dir():
        folder = pq.ParquetDataset(path)
        if not folder.fragments:
            raise InputError(f"no file in the folder {path}: expected Parquet files of molecules")
        parts = [fragment.metadata for fragment in folder.fragments]
        return folder.read(_wanted(folder.schema, parts, target, path))
    with pq.ParquetFile(path) as file:
        return file.read(_wanted(file.schema_arrow, [file.metadata], target, path))


def _wanted(
    schema: pa.Schema, parts: Sequence[pq.FileMetaData], target: str | None, path: Path
) -> list[str]:
    """Checks columns and number of rows; returns the names of the columns to read, all of them if
    `target` is None."""
    _check_columns(schema, target, path)
    read = schema.names if target is None else [*STRUCTURE, BONDS, target]
    # Checked before reading, as a small file can claim any number of rows. The column statistics
    # are not used: Arrow aborts the process if those are damaged.
    rows = sum(part.num_rows for part in parts)
    if rows > MOST_ROWS:
        raise InputError(f"{path} has {rows:,} rows: expected at most {MOST_ROWS:,}")
    return [name for name in read if name in schema.names]


def _check_columns(schema: pa.Schema, target: str | None, path: Path) -> None:
    missing = [name for name in STRUCTURE if name not in schema.names]
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has "
            f"{', '.join(schema.names)}; the schema is in datasets/molecules.py"
        )
    read = [*STRUCTURE, BONDS, *([] if target is None else [target])]
    if repeated := [name for name in read if schema.names.count(name) > 1]:
        raise InputError(
            f"{path} has more than one column {', '.join(repeated)}: expected each once"
        )
    if target is not None:
        _check_target(schema, target)


def _in_plain_forms(table: pa.Table) -> pa.Table:
    """Casts the columns to plain Arrow types: pandas writes dictionaries for categories, polars
    writes views of strings and lists."""
    for place, field in enumerate(table.schema):
        if (plain := _plain(field.type)) != field.type:
            column = table.column(place).cast(plain)
            table = table.set_column(place, field.with_type(plain), column)
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type)
    return kind


def _check_structure(table: pa.Table, path: Path) -> None:
    expected = {
        "smiles": _is_text,
        "atomic_numbers": _is_numbers,
        "positions": _is_numbers,
        BONDS: _is_integers,
    }
    for name in expected:
        column = table.column(name) if name in table.column_names else None
        if column is not None and (not expected[name](column.type) or column.null_count):
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
    # Phrased so that NaN, as which a null is read, fails the check too.
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
    return pa.types.is_string(kind := _plain(kind)) or pa.types.is_large_string(kind)


def _is_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (pa.types.is_integer(v := kind.value_type) or pa.types.is_floating(v))


def _is_integers(kind: pa.DataType) -> bool:
    return _is_numbers(kind) and pa.types.is_integer(kind.value_type)


def ragged(table: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a list column as flat values and offsets of shape (rows + 1,), int64."""
    lists = pa.concat_arrays(table.column(column).chunks)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.values.to_numpy(zero_copy_only=False)
    return values[offsets[0] : offsets[-1]], offsets - offsets[0]


def target_values(table: pa.Table, name: str) -> np.ndarray:
    """Returns a target's values, (molecules,) float64, in the unit given by `target_unit`.

    Raises:
        InputError: If the table has no such target, or a value is missing or not finite.
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
    if name in available:
        return
    known = f"this table has {', '.join(available) or 'none'}"
    raise InputError(f"no target {name}: {known}{_why_not(schema, name)}")


def _why_not(schema: pa.Schema, name: str) -> str:
    """Returns the end of the message for a column that is no target, with its type; empty if there
    is no such column."""
    if name not in schema.names:
        return ""
    kind = schema.field(name).type
    return f"; {name} is {'text' if _is_text(kind) else kind}, expected numbers"


def target_names(schema: pa.Schema) -> list[str]:
    """Returns the names of the numeric columns, each of which can be a target."""
    return [field.name for field in schema if _is_number(_plain(field.type))]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def target_unit(table: pa.Table, name: str) -> str:
    """Returns the unit of a target from its field's metadata, or from the table's; else `UNKNOWN`.

    Raises:
        InputError: If the table has no such target.
    """
    _check_target(table.schema, name)
    metadata = table.schema.field(name).metadata or {}
    return unit_name(_text(metadata, b"unit") or _listed_unit(table.schema, name)) or UNKNOWN


def unit_name(text: str) -> str:
    """Normalises a unit: whitespace collapsed, and long names replaced by `SHORT_UNITS`."""
    text = " ".join(text.split())
    return SHORT_UNITS.get(text, text)


def _listed_unit(schema: pa.Schema, name: str) -> str:
    """Returns a target's unit from the table's metadata under ``units``; empty if not listed."""
    for entry in _text(schema.metadata or {}, b"units").split(";"):
        # Splits at blanks, but not within brackets: cal/(mol K) is one word.
        *names, unit = re.findall(r"(?:[^\s()]|\([^()]*\))+", entry) or [""]
        if name in names:
            return unit
    return ""


def _text(metadata: Mapping[bytes, bytes], key: bytes) -> str:
    return metadata.get(key, b"").decode(errors="replace")


def fingerprint(table: pa.Table, target: str) -> str:
    """Returns a fingerprint of structure, geometry and one target: 16 hex digits of a SHA-256.

    It does not depend on the file's compression, its chunks or its other columns.
    """
    digest = hashlib.sha256()
    lists = [n for n in ("atomic_numbers", "positions", BONDS) if n in table.column_names]
    for column in lists:
        for part in ragged(table, column):
            digest.update(np.ascontiguousarray(part).tobytes())
    digest.update("\n".join(table.column("smiles").to_pylist()).encode())
    digest.update(target_values(table, target).tobytes())
    return digest.hexdigest()[:16]
