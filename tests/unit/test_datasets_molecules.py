"""The molecule table: what it holds, what is refused, and when two tables are the same."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets import molecules as molecule_tables
from datasets.errors import InputError
from datasets.molecules import (
    STRUCTURE,
    fingerprint,
    molecule_table,
    ragged,
    read_table,
    target_names,
    target_unit,
    target_values,
    write_table,
)

SMILES = ["O", "C#N", "C"]
NUMBERS = [[8, 1, 1], [6, 7, 1], [6, 1, 1, 1, 1]]
MU = np.array([1.85, 2.98, 0.0])


def table(**columns) -> pa.Table:
    """Three molecules at made-up positions, one column replaced or added a keyword."""
    positions = np.random.default_rng(0).normal(size=(11, 3))
    whole = molecule_table(
        SMILES,
        [np.array(numbers) for numbers in NUMBERS],
        np.split(positions, [3, 6]),
        {"mu": (MU, "D"), "gap": (MU + 1, "Hartree")},
    )
    for name, column in columns.items():
        place = whole.schema.get_field_index(name)
        whole = (
            whole.append_column(name, column)
            if place < 0
            else whole.set_column(place, name, column)
        )
    return whole


def written(path, molecules: pa.Table, **options):
    pq.write_table(molecules, path, **options)
    return path


def lists(rows, kind=None) -> pa.Array:
    return pa.array(rows, pa.list_(kind or pa.float32()))


def test_a_table_comes_back_from_parquet_as_it_was(tmp_path):
    back = read_table(written(tmp_path / "molecules.parquet", table()))
    assert back.equals(table())
    assert target_names(back.schema) == ["mu", "gap"]
    assert target_unit(back, "mu") == "D"
    np.testing.assert_array_equal(target_values(back, "mu"), MU)


def test_a_table_keeps_the_numbers_it_was_built_from():
    numbers, offsets = ragged(table(), "atomic_numbers")
    assert [list(part) for part in np.split(numbers, offsets[1:-1])] == NUMBERS
    positions, offsets = ragged(table(), "positions")
    expected = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    np.testing.assert_array_equal(positions.reshape(-1, 3), expected)
    assert offsets.tolist() == [0, 9, 18, 33]


BONDS = [[0, 1, 0, 0, 2, 0], [0, 1, 2, 0, 2, 0], [2, 0, 0, 0, 1, 0, 3, 0, 0, 0, 4, 0]]


def bonds(rows=BONDS, kind=None) -> pa.Array:
    return pa.array(rows, pa.list_(kind or pa.int8()))


def test_a_table_with_bonds_comes_back_from_parquet_as_it_was_built(tmp_path):
    numbers = [np.array(each) for each in NUMBERS]
    triplets = [np.array(each).reshape(-1, 3) for each in BONDS]
    positions = [np.zeros((len(each), 3)) for each in NUMBERS]
    built = molecule_table(SMILES, numbers, positions, {"mu": (MU, "D")}, triplets)
    back = read_table(written(tmp_path / "molecules.parquet", built))
    assert back.equals(built)
    assert back.column("bonds").to_pylist() == BONDS
    assert target_names(back.schema) == ["mu"]


def test_a_molecule_may_have_no_bond(tmp_path):
    path = written(tmp_path / "molecules.parquet", table(bonds=bonds([[], [], []])))
    assert read_table(path).column("bonds").to_pylist() == [[], [], []]


def test_only_the_structure_and_the_target_asked_for_are_read(tmp_path):
    path = written(tmp_path / "molecules.parquet", table(bonds=bonds(), name=pa.array(SMILES)))
    names = ["smiles", "atomic_numbers", "positions", "gap", "bonds"]
    assert sorted(read_table(path, "gap").column_names) == sorted(names)
    assert target_unit(read_table(path, "gap"), "gap") == "Hartree"


def test_a_target_that_the_file_lacks_is_refused_beside_those_it_has(tmp_path):
    path = written(tmp_path / "molecules.parquet", table())
    with pytest.raises(InputError, match="no target dipole: this table has mu, gap"):
        read_table(path, "dipole")


def test_an_interrupted_write_leaves_no_table_behind(tmp_path, monkeypatch):
    def full(table, where):
        del table
        where.write_bytes(b"PAR1")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="no space left"):
        write_table(table(), tmp_path / "new" / "molecules.parquet")
    assert not list(tmp_path.glob("**/*.parquet"))


def test_ragged_reads_a_slice_and_several_chunks():
    parts = pa.concat_tables([table().slice(1, 1), table().slice(0, 1), table().slice(2)])
    assert parts.column("positions").num_chunks == 3
    numbers, offsets = ragged(parts, "atomic_numbers")
    assert numbers.tolist() == [*NUMBERS[1], *NUMBERS[0], *NUMBERS[2]]
    assert offsets.tolist() == [0, 3, 6, 11]


def test_ragged_reads_a_slice_of_a_single_chunk():
    numbers, offsets = ragged(table().slice(1, 2), "atomic_numbers")
    assert numbers.tolist() == [*NUMBERS[1], *NUMBERS[2]]
    assert offsets.tolist() == [0, 3, 8]


def test_units_come_from_the_file_else_are_unknown():
    """A name says nothing: PyG's exports have QM9's homo in eV, QM9's own files in Hartree."""
    molecules = table(homo=pa.array(MU), polarity=pa.array(MU))
    assert target_unit(molecules, "gap") == "Hartree"
    assert target_unit(molecules, "homo") == target_unit(molecules, "polarity") == "unit unknown"
    stated = molecules.schema.set(5, pa.field("homo", pa.float64(), metadata={"unit": "eV"}))
    assert target_unit(molecules.cast(stated), "homo") == "eV"


def test_units_may_be_listed_in_the_metadata_of_the_table(tmp_path):
    listed = "mu Debye; positions Angstrom, flat x,y,z; homo lumo  gap Hartree; cv cal/(mol K);;x"
    molecules = table(homo=pa.array(MU), cv=pa.array(MU), x=pa.array(MU), mu=pa.array(MU))
    path = written(
        tmp_path / "molecules.parquet", molecules.replace_schema_metadata({"units": listed})
    )
    units = {n: target_unit(read_table(path, n), n) for n in ("mu", "homo", "gap", "cv", "x")}
    assert units == {
        "mu": "D",
        "homo": "Hartree",
        "gap": "Hartree",  # its field says so too
        "cv": "cal/(mol K)",
        "x": "unit unknown",
    }


@pytest.mark.parametrize(
    ("recorded", "unit"),
    [(b"", "unit unknown"), (b"  ", "unit unknown"), (b"a\nb", "a b"), (b"\xb5D", "\ufffdD")],
)
def test_a_recorded_unit_that_is_odd_becomes_one_line(recorded, unit):
    molecules = table()
    stated = molecules.schema.set(3, pa.field("mu", pa.float64(), metadata={"unit": recorded}))
    assert target_unit(molecules.cast(stated), "mu") == unit


def test_columns_of_numbers_are_targets():
    molecules = table(
        gdb_id=pa.array([1, 2, 3]),
        half=pa.array(MU.astype(np.float32)),
        price=pa.array([Decimal("1.5"), Decimal("2.5"), Decimal("3.5")]),
        name=pa.array(SMILES),
        aromatic=pa.array([True, False, True]),
    )
    assert target_names(molecules.schema) == ["mu", "gap", "gdb_id", "half", "price"]
    assert target_values(molecules, "half").dtype == np.float64
    assert target_values(molecules, "gdb_id").tolist() == [1, 2, 3]
    assert target_values(molecules, "price").tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("integers", [pa.array([1, 2, None]), pa.array([1, None, 3], pa.uint8())])
def test_a_whole_number_that_is_missing_is_refused_with_its_row(integers):
    with pytest.raises(InputError, match="target count has no finite value in 1 rows"):
        target_values(table(count=integers), "count")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array(["1.5", "2.5", "3.5"]), "text"),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "text"),
        (pa.array(["a", "b", "a"], pa.string_view()), "text"),
        (pa.array([True, False, True]), "bool"),
        (pa.array([[1.0], [2.0], [3.0]]), "list<element: double>"),
    ],
)
def test_of_a_column_that_is_no_target_it_is_said_what_it_holds(tmp_path, column, kind):
    path = written(tmp_path / "molecules.parquet", table(label=column))
    said = f"no target label: this table has mu, gap; label is {kind}, expected numbers"
    with pytest.raises(InputError, match=said):
        read_table(path, "label")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^no file .*absent\.parquet: expected a Parquet file"):
        read_table(tmp_path / "absent.parquet")


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_table(tmp_path)


def test_a_folder_of_files_is_read_as_one_table(tmp_path):
    """As Spark, Dask and pyarrow write one, in parts or by the values of a column."""
    folder = tmp_path / "molecules.parquet"
    folder.mkdir()
    for part in range(2):
        written(folder / f"part-{part}.parquet", table().slice(2 * part, 2))
    (folder / "_SUCCESS").touch()
    assert read_table(folder).equals(table())
    assert read_table(folder, "gap").column_names == [*STRUCTURE, "gap"]
    whole = table(origin=pa.array(["a", "b", "a"]), times=pa.array([1, 2, 1]))
    pq.write_to_dataset(whole, tmp_path / "by.parquet", partition_cols=["times"])
    found = read_table(tmp_path / "by.parquet", "times")
    assert target_values(found, "times").tolist() == [1, 1, 2]
    assert found.column("smiles").to_pylist() == ["O", "C", "C#N"]


def test_a_damaged_file_in_a_folder_is_one_line(tmp_path):
    folder = tmp_path / "molecules.parquet"
    folder.mkdir()
    path = written(folder / "part.parquet", table())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"molecules\.parquet cannot be read as Parq") as error:
        read_table(folder)
    assert "\n" not in str(error.value)


def test_a_table_of_too_many_rows_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "molecules.parquet", table())
    monkeypatch.setattr(molecule_tables, "MOST_ROWS", 3)
    assert read_table(path, "mu").num_rows == 3
    monkeypatch.setattr(molecule_tables, "MOST_ROWS", 2)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(InputError, match="parquet has 3 rows: expected at most 2"):
        read_table(path, "mu")


@pytest.mark.parametrize("twice", ["smiles", "positions", "mu"])
def test_a_column_that_is_there_twice_is_refused(twice, tmp_path):
    column = table().column(twice)
    path = written(tmp_path / "molecules.parquet", table().append_column(twice, column))
    with pytest.raises(InputError, match=f"has more than one column {twice}: expected each once"):
        read_table(path, "mu")


def test_a_column_that_nobody_reads_may_be_there_twice(tmp_path):
    whole = table().append_column("gap", table().column("gap"))
    path = written(tmp_path / "molecules.parquet", whole)
    assert read_table(path, "mu").num_rows == read_table(path).num_rows == 3


@pytest.mark.parametrize("kept", [0, 3, 500, -9, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = written(tmp_path / "molecules.parquet", table())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"molecules\.parquet cannot be read as Parquet") as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "molecules.parquet"
    path.write_text("smiles,mu\nO,1.85\n" * 20)
    with pytest.raises(InputError, match=r"cannot be read as Parquet, write it again") as error:
        read_table(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["smiles", "atomic_numbers", "positions"])
def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path, missing):
    path = written(tmp_path / "molecules.parquet", table().drop_columns(missing))
    with pytest.raises(InputError, match=rf"lacks the column\(s\) {missing}; it has .*mu, gap"):
        read_table(path)


def test_a_table_without_rows_is_refused(tmp_path):
    path = written(tmp_path / "molecules.parquet", table().slice(0, 0))
    with pytest.raises(InputError, match="holds no molecule"):
        read_table(path)


NINE = [0.0] * 9
BAD_COLUMNS = {
    "positions too short": (
        {"positions": lists([NINE, NINE, NINE])},
        "row 2 does not have three coordinates an atom",
    ),
    "positions too long": (
        {"positions": lists([NINE, [0.0] * 10, [0.0] * 14])},
        "row 1 does not have three coordinates an atom",
    ),
    "nested positions": (
        {"positions": pa.array([[[0.0] * 3] * len(row) for row in NUMBERS])},
        "column positions is list<",
    ),
    "a position that is not a number": (
        {"positions": lists([NINE, [0.0] * 8 + [np.nan], [0.0] * 15])},
        "row 1 has a position that is not a finite number",
    ),
    "an infinite position in the first place": (
        {"positions": lists([[np.inf] + [0.0] * 8, NINE, [0.0] * 15])},
        "row 0 has a position that is not a finite number",
    ),
    "a null position": (
        {"positions": lists([NINE, NINE, [None] + [0.0] * 14])},
        "row 2 has a position that is not a finite number",
    ),
    "null positions": (
        {"positions": lists([NINE, None, [0.0] * 15])},
        "column positions is .* with 1 nulls",
    ),
    "positions in one string": (
        {"positions": pa.array(["0 0 0", "0 0 0", "0 0 0"])},
        "column positions is string",
    ),
    "positions as strings": (
        {"positions": lists([["0"] * 9, ["0"] * 9, ["0"] * 15], pa.string())},
        "column positions is list<element: string>",
    ),
    "numbers as element symbols": (
        {"atomic_numbers": lists([list("OHH"), list("CNH"), list("CHHHH")], pa.string())},
        "column atomic_numbers is list<element: string>",
    ),
    "an atomic number of 0": (
        {"atomic_numbers": lists([[8, 0, 1], *NUMBERS[1:]], pa.int8())},
        "an atomic number is below 1",
    ),
    "a null SMILES": (
        {"smiles": pa.array(["O", None, "C"])},
        "column smiles is string with 1 nulls",
    ),
    "a bond without a type": (
        {"bonds": bonds([[0, 1, 0], [0, 1], []])},
        "row 1 has 2 numbers in bonds; expected three a bond: source, target and type",
    ),
    "a bond to the next molecule": (
        {"bonds": bonds([[], [0, 1, 2, 0, 3, 0], []])},
        r"row 1 has the bond \[0, 3, 0\] .* among 3 atoms; expected two of its own atoms",
    ),
    "a bond from the next molecule": (
        {"bonds": bonds([[3, 0, 0], [], []])},
        r"row 0 has the bond \[3, 0, 0\] .* among 3 atoms; expected two of its own atoms",
    ),
    "a bond from below": (
        {"bonds": bonds([[], [], [-1, 0, 0]])},
        r"row 2 has the bond \[-1, 0, 0\] .* among 5 atoms; expected two of its own atoms",
    ),
    "an atom bound to itself": (
        {"bonds": bonds([[1, 1, 0], [], []])},
        r"row 0 has the bond \[1, 1, 0\] .* expected two of its own atoms",
    ),
    "a bond of an unknown type": (
        {"bonds": bonds([[0, 1, 3], [0, 1, 4], []])},
        r"row 1 has the bond \[0, 1, 4\] .* expected a type from 0 to 3",
    ),
    "a null in a bond": (
        {"bonds": bonds([[0, None, 0], [], []])},
        r"row 0 has the bond \[0.0, nan, 0.0\]",
    ),
    "null bonds": ({"bonds": bonds([[], None, []])}, "column bonds is .* with 1 nulls"),
    "bonds as fractions": (
        {"bonds": bonds(kind=pa.float32())},
        "column bonds is list<element: float>",
    ),
    "SMILES as numbers": ({"smiles": pa.array([1, 2, 3])}, "column smiles is int64"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_bad_column_is_refused_by_name_or_row(tmp_path, case):
    columns, message = BAD_COLUMNS[case]
    path = written(tmp_path / "molecules.parquet", table(**columns))
    with pytest.raises(InputError, match=f"molecules.parquet: .*{message}") as error:
        read_table(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "kind", [pa.large_list(pa.float64()), pa.list_(pa.float64()), pa.list_view(pa.float32())]
)
def test_lists_of_other_forms_are_read(tmp_path, kind):
    """What polars, pandas and hand-made tables write."""
    positions = pa.array(table().column("positions").to_pylist(), kind)
    path = written(tmp_path / "molecules.parquet", table(positions=positions))
    assert read_table(path).num_rows == 3


@pytest.mark.parametrize(
    "smiles",
    [
        pa.array(SMILES, pa.large_string()),
        pa.array(SMILES, pa.string_view()),
        pa.array(SMILES).dictionary_encode(),
        pa.array(SMILES, pa.large_string()).dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_texts_in_every_form_are_read(tmp_path, smiles):
    """What polars writes, and pandas for a category."""
    path = written(tmp_path / "molecules.parquet", table(smiles=smiles))
    found = read_table(path, "mu")
    assert found.column("smiles").to_pylist() == SMILES
    assert fingerprint(found, "mu") == fingerprint(table(), "mu")


def test_a_null_among_categories_is_refused(tmp_path):
    smiles = pa.array(["O", None, "C"]).dictionary_encode()
    path = written(tmp_path / "molecules.parquet", table(smiles=smiles))
    with pytest.raises(InputError, match="column smiles is string with 1 nulls"):
        read_table(path)


def test_a_column_whose_name_is_no_text_is_refused(tmp_path):
    path = written(tmp_path / "molecules.parquet", table(polarity=pa.array(MU)))
    path.write_bytes(path.read_bytes().replace(b"polarity", b"polar\xff\xfey"))
    with pytest.raises(InputError, match="cannot be read as Parquet, write it again"):
        read_table(path, "mu")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    data = pa.py_buffer(b"O\xffC")
    smiles = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), data]
    )
    path = written(tmp_path / "molecules.parquet", table(smiles=smiles))
    with pytest.raises(InputError, match=r"cannot be read as Parquet, write it again: .*UTF8"):
        read_table(path)


def test_a_target_of_categories_is_taken_by_its_numbers(tmp_path):
    path = written(
        tmp_path / "molecules.parquet", table(dose=pa.array([2, 1, 2]).dictionary_encode())
    )
    assert target_values(read_table(path, "dose"), "dose").tolist() == [2, 1, 2]


def test_an_unknown_target_is_refused_beside_those_available():
    with pytest.raises(InputError, match="no target dipole: this table has mu, gap"):
        target_values(table(), "dipole")


def test_a_structure_column_is_no_target():
    with pytest.raises(InputError, match="no target smiles: this table has none"):
        target_values(table().drop_columns(["mu", "gap"]), "smiles")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_a_target_that_is_not_finite_is_refused_with_its_row(value):
    molecules = table(mu=pa.array([1.0, 2.0, value]))
    with pytest.raises(
        InputError, match=r"target mu has no finite value in 1 rows \(first: row 2"
    ):
        target_values(molecules, "mu")
    assert target_values(molecules, "gap").shape == (3,)


def test_the_fingerprint_ignores_chunks_compression_and_other_columns(tmp_path):
    reference = fingerprint(table(), "mu")
    pieces = pa.concat_tables([table().slice(0, 1), table().slice(1)])
    small = written(tmp_path / "a.parquet", table(), compression="zstd", row_group_size=1)
    bare = written(tmp_path / "b.parquet", table(), compression="none", use_dictionary=False)
    assert fingerprint(pieces, "mu") == reference
    assert fingerprint(read_table(small), "mu") == reference
    assert fingerprint(read_table(bare), "mu") == reference
    assert fingerprint(table(gap=pa.array(MU - 5)), "mu") == reference
    assert fingerprint(table().drop_columns("gap"), "mu") == reference
    assert fingerprint(table(new=pa.array(MU)), "mu") == reference


def moved_boundary() -> dict[str, pa.Array]:
    """The same flat numbers and positions, one atom handed from the last row to the one before."""
    flat = ragged(table(), "positions")[0].tolist()
    return {
        "atomic_numbers": lists([[8, 1, 1], [6, 7, 1, 6], [1, 1, 1, 1]], pa.int8()),
        "positions": lists([flat[:9], flat[9:21], flat[21:]]),
    }


CHANGES = {
    "smiles": {"smiles": pa.array(["O", "N#C", "C"])},
    "an atomic number": {"atomic_numbers": lists([[9, 1, 1], *NUMBERS[1:]], pa.int8())},
    "where a molecule ends": moved_boundary(),
    "which bonds there are": {"bonds": bonds()},
    "the target": {"mu": pa.array(np.nextafter(MU, 9))},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_depends_on(change):
    assert fingerprint(table(**CHANGES[change]), "mu") != fingerprint(table(), "mu")


def test_the_fingerprint_depends_on_the_type_of_a_bond():
    other = [[0, 1, 1, *BONDS[0][3:]], *BONDS[1:]]
    assert fingerprint(table(bonds=bonds(other)), "mu") != fingerprint(table(bonds=bonds()), "mu")


def test_the_fingerprint_depends_on_the_last_bit_of_a_position():
    rows = table().column("positions").to_pylist()
    rows[2][14] = float(np.nextafter(np.float32(rows[2][14]), np.float32(9)))
    assert fingerprint(table(positions=lists(rows)), "mu") != fingerprint(table(), "mu")


def test_the_fingerprint_depends_on_which_target():
    assert fingerprint(table(), "gap") != fingerprint(table(), "mu")


def test_the_fingerprint_depends_on_the_order_of_the_molecules():
    assert fingerprint(table().take([1, 0, 2]), "mu") != fingerprint(table(), "mu")
