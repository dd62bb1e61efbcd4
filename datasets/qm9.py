"""QM9 from the raw files that PyTorch Geometric (PyG) reads, with PyG's targets and units.

QM9 has 130,831 molecules of up to nine heavy atoms of C, N, O and F, with geometries and
properties from B3LYP/6-31G(2df,p) (Ramakrishnan et al. 2014, doi:10.1038/sdata.2014.22). The raw
files list 133,885; the 3,054 whose geometry failed a consistency check (``uncharacterized.txt``)
are left out, as is usual. Rows are in the order of GDB-9.

`TARGETS` are bit-identical to those of ``torch_geometric.datasets.QM9``, in its order and units:
float32, converted in float32. Bonds and the order of atoms come from the file, so that no molecule
is left out because its SMILES has another order.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.csv import ConvertOptions, ReadOptions, read_csv
from rdkit import Chem, rdBase

from datasets.cache import Cache
from datasets.downloads import Download, PublishedFile, check_present, complete
from datasets.errors import InputError
from datasets.features import BOND_PLACES
from datasets.molecules import molecule_table, read_table, write_table
from datasets.parallel import ParallelMap
from datasets.source import Source, Wanted

VERSION = 1
"""Version of the table, part of its file's name in the cache; to be raised when the same raw files
give another table."""

SDF = PublishedFile(
    "gdb9.sdf",
    235_434_378,
    "98c4e97d50ac549b8c9f0b2114b348a9a944718e17e50d9a724b729f1deaa28e",
)
CSV = PublishedFile(
    "gdb9.sdf.csv",
    27_685_401,
    "73a67793e3cfa9660f001278bd019c143f57e4785db537a01811cf2ce72aa7eb",
)
UNCHARACTERIZED = PublishedFile(
    "uncharacterized.txt",
    486_752,
    "3aa5115d540b356de94791d4a74c3bf1ed91c469ecf52a4f5d7cc0506fe02e24",
)


@dataclass(frozen=True)
class RawSet:
    """Published raw files in QM9's format, with their counts of records."""

    archive: Download
    """The download with the structures, an SDF file, and the properties, a CSV file."""
    uncharacterized: Download
    """The download with the list of records to leave out."""
    records: int
    """Number of records in the SDF and CSV files."""
    left_out: int
    """Number of records to leave out."""

    @property
    def digest(self) -> str:
        """Fingerprint of the published files: 16 hexadecimal digits."""
        files = [*self.archive.files, *self.uncharacterized.files]
        return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()[:16]


# The addresses of torch_geometric.datasets.QM9. Their hosts publish no checksums; those above are
# recorded elsewhere for the same files: gdb9.sdf and its CSV in
# huggingface.co/datasets/RichXuOvO/HFQm9 and in several projects that pin PyG's download,
# uncharacterized.txt in tensorflow/datasets (qm9/checksums.tsv).
PUBLISHED = RawSet(
    archive=Download(
        "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/molnet_publish/qm9.zip",
        "qm9.zip",
        (SDF, CSV),
    ),
    uncharacterized=Download(
        "https://ndownloader.figshare.com/files/3195404",
        UNCHARACTERIZED.name,
        (UNCHARACTERIZED,),
    ),
    records=133_885,
    left_out=3_054,
)

SIZE = PUBLISHED.records - PUBLISHED.left_out
"""Number of molecules in the data set."""

HARTREE = 27.211386246
"""One Hartree in eV; the value that PyG uses."""

KCAL_PER_MOL = 0.04336414
"""One kcal/mol in eV; the value that PyG uses."""

TARGETS = {
    "mu": ("D", 1.0),
    "alpha": ("Bohr^3", 1.0),
    "homo": ("eV", HARTREE),
    "lumo": ("eV", HARTREE),
    "gap": ("eV", HARTREE),
    "r2": ("Bohr^2", 1.0),
    "zpve": ("eV", HARTREE),
    "U0": ("eV", HARTREE),
    "U": ("eV", HARTREE),
    "H": ("eV", HARTREE),
    "G": ("eV", HARTREE),
    "Cv": ("cal/(mol K)", 1.0),
    "U0_atom": ("eV", KCAL_PER_MOL),
    "U_atom": ("eV", KCAL_PER_MOL),
    "H_atom": ("eV", KCAL_PER_MOL),
    "G_atom": ("eV", KCAL_PER_MOL),
    "A": ("GHz", 1.0),
    "B": ("GHz", 1.0),
    "C": ("GHz", 1.0),
}
"""Target -> (unit, factor by which the raw value is multiplied).

In order: dipole moment, isotropic polarisability, energies of the highest occupied and lowest
unoccupied orbital and the gap between them, electronic spatial extent, zero-point vibrational
energy, internal energy at 0 K and at 298.15 K, enthalpy, free energy and heat capacity at
298.15 K, the four energies again relative to free atoms, and the three rotational constants.
"""

CSV_COLUMNS = ("name", "A", "B", "C", *list(TARGETS)[:-3])
"""Columns of the CSV file, in order."""

HEADER_LINES = 9
"""Number of lines of ``uncharacterized.txt`` before the first entry; its last line is no entry
either."""

CHUNK = 500
"""Records per work item: under a second on one core."""

SEPARATOR = b"\n$$$$"
"""Start of the last line of a record in the SDF file."""


def table_file(
    folder: Path, raw: RawSet, parallel: ParallelMap, notify: Callable[[str], None]
) -> Path:
    """Returns the path of QM9's molecule table, a Parquet file; makes it if it does not exist.

    Args:
        folder: Folder of the table, and, in ``raw/``, of the raw files, which the user may put
            there. The table is named after the published content; once it exists, the raw files
            are not needed.
        raw: The published files.
        parallel: Maps `read_records` over chunks of the SDF file.
        notify: Receives a line for each download.

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or is not as published.
    """
    path = folder / table_name(raw)
    downloads = (raw.archive, raw.uncharacterized)
    if not path.is_file():
        complete(
            downloads, folder / "raw", notify, "or use another --dataset, such as FILE.parquet"
        )
    check_present(downloads, folder / "raw")
    if not path.is_file():
        write_table(read_raw(folder / "raw", raw, parallel), path)
    return path


def table_name(raw: RawSet) -> str:
    """Returns the name of the table's file, made of the raw files' digest and `VERSION`."""
    return f"molecules-{raw.digest}-v{VERSION}.parquet"


def read_raw(folder: Path, raw: RawSet, parallel: ParallelMap) -> pa.Table:
    """Reads the molecule table from a folder of raw files.

    Raises:
        InputError: If a file is truncated or malformed, or has another number of records than
            published.
    """
    sdf, csv, uncharacterized = (
        folder / file.name for file in (*raw.archive.files, *raw.uncharacterized.files)
    )
    skipped = _uncharacterized(uncharacterized, raw)
    properties = _properties(csv, raw)
    chunks = list(_chunks(sdf, skipped))
    if (found := sum(chunk.records for chunk in chunks)) != raw.records:
        raise InputError(_miscounted(sdf, found, raw.records))
    table = pa.concat_tables(parallel(read_records, chunks))
    kept = np.setdiff1d(np.arange(raw.records), skipped)
    for name, (unit, factor) in TARGETS.items():
        # Rounded to float32 before the multiplication, as in PyG.
        values = properties.column(name).to_numpy()[kept].astype(np.float32) * np.float32(factor)
        field = pa.field(name, pa.float32(), metadata={"unit": unit})
        table = table.append_column(field, pa.array(values))
    return table


def _miscounted(path: Path, found: int, expected: int) -> str:
    return f"{path} holds {found:,} records, expected {expected:,}: remove it, get it again"


def _uncharacterized(path: Path, raw: RawSet) -> np.ndarray:
    """Returns the numbers of the records to leave out, counted from 0, ascending."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[HEADER_LINES:-2]
    try:
        places = np.unique([int(line.split()[0]) - 1 for line in lines])
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} has a line that begins with no number: {error}") from error
    if len(places) != raw.left_out:
        raise InputError(_miscounted(path, len(places), raw.left_out))
    return places


def _properties(path: Path, raw: RawSet) -> pa.Table:
    """Reads the CSV file: `CSV_COLUMNS`, in the units of the file."""
    kinds = dict.fromkeys(CSV_COLUMNS[1:], pa.float64())
    try:
        rows = read_csv(
            path,
            ReadOptions(column_names=CSV_COLUMNS, skip_rows=1),
            convert_options=ConvertOptions(column_types=kinds, null_values=[]),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if rows.num_rows != raw.records:
        raise InputError(_miscounted(path, rows.num_rows, raw.records))
    return rows


@dataclass(frozen=True)
class RecordChunk:
    """Consecutive records of the SDF file, as text that can be sent to another process."""

    first: int
    """Number of the first record in the file, from 0."""
    records: int
    """Number of records."""
    text: bytes
    """The records as in the file."""
    skipped: frozenset[int]
    """Numbers of the records to leave out, counted from 0 over the whole file."""


def _chunks(path: Path, skipped: np.ndarray) -> Iterator[RecordChunk]:
    text = path.read_bytes()
    first, begin, end, records = 0, 0, 0, 0
    while (found := text.find(SEPARATOR, end)) >= 0:
        end = text.find(b"\n", found + 1) + 1 or len(text)
        records += 1
        if records == CHUNK:
            yield _chunk(text[begin:end], first, records, skipped)
            first, begin, records = first + records, end, 0
    if text[end:].strip():
        raise InputError(f"{path} ends within a record: it is cut off, get it again")
    if records:
        yield _chunk(text[begin:end], first, records, skipped)


def _chunk(text: bytes, first: int, records: int, skipped: np.ndarray) -> RecordChunk:
    within = skipped[(skipped >= first) & (skipped < first + records)]
    return RecordChunk(first, records, text, frozenset(within.tolist()))


def read_records(chunk: RecordChunk) -> pa.Table:
    """Reads the structures of a chunk as a molecule table without targets.

    As in PyG, RDKit does not sanitise the molecules.

    Raises:
        InputError: If RDKit cannot read a record.
    """
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs():
        supplier.SetData(chunk.text.decode(), sanitize=False, removeHs=False)
        molecules = [
            _readable(molecule, place)
            for place, molecule in enumerate(supplier, chunk.first)
            if place not in chunk.skipped
        ]
        return molecule_table(
            [Chem.MolToSmiles(molecule, isomericSmiles=True) for molecule in molecules],
            [_numbers(molecule) for molecule in molecules],
            [molecule.GetConformer().GetPositions() for molecule in molecules],
            targets={},
            bonds=[_bonds(molecule) for molecule in molecules],
        )


def _readable(molecule: Chem.Mol | None, place: int) -> Chem.Mol:
    if molecule is None:
        raise InputError(f"record {place + 1} of {SDF.name} cannot be read: get the file again")
    return molecule


def _numbers(molecule: Chem.Mol) -> np.ndarray:
    return np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.int8)


def _bonds(molecule: Chem.Mol) -> np.ndarray:
    """Returns source, target and type of every bond, listed once: (bonds, 3) int8."""
    return np.array(
        [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), BOND_PLACES[bond.GetBondType()])
            for bond in molecule.GetBonds()
        ],
        np.int8,
    )


def load(
    wanted: Wanted, cache: Cache, parallel: ParallelMap, notify: Callable[[str], None]
) -> pa.Table:
    """Returns QM9's table from the cache, or makes it from the raw files, downloaded if missing.

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or is not as published; or
            if there is no such target.
    """
    table = partial(table_file, cache.folder / "qm9", PUBLISHED, parallel, notify)
    cache.get(f"qm9/{table_name(PUBLISHED)}", lambda _: table())
    return read_table(table(), wanted.target)  # the call also checks raw files that are present


SOURCE = Source(
    key="qm9",
    title="QM9",
    description=(
        f"the {SIZE:,} of QM9, downloaded, with features, targets and units of PyTorch Geometric"
    ),
    targets={name: unit for name, (unit, _) in TARGETS.items()},
    size=SIZE,
    load=load,
    # Some 75 molecules are listed twice, with either Kekulé structure of an aromatic ring;
    # recorded splits compare the text of the SMILES.
    one_row_a_molecule=True,
    geometry_note="; the model was trained on those of qm9, which are B3LYP's",
    relation=(
        "The same property of molecules of the same origin; the molecules to train and to test "
        "are others, and so may be their number."
    ),
    homework_relation=(
        "its R² is the same quantity on the same molecules. The MAE of the others comes from ten "
        "times as many molecules to train."
    ),
)
