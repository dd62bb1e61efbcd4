"""QM9 from the raw files that PyTorch Geometric (PyG) reads, with PyG's targets and units.

130,831 molecules of up to nine atoms of C, N, O and F with their hydrogens, geometries and
properties from B3LYP/6-31G(2df,p) (Ramakrishnan et al. 2014, doi:10.1038/sdata.2014.22). The raw
files list 133,885; the 3,054 whose geometry did not stand up to a consistency check
(``uncharacterized.txt``) are left out, as everywhere. Rows are in the order of GDB-9.

`TARGETS` are those of ``torch_geometric.datasets.QM9``, in its order and units and to its last
bit: float32, converted in float32. Bonds come from the file, atoms in its order, so that no
molecule has to be left out for the order of its SMILES.
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
"""Goes into the name of the cached table: raise it when the same raw files give another one."""

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
    """Raw files in QM9's format, as published."""

    archive: Download
    """Of the structures, an SDF file, and the properties, a CSV file."""
    uncharacterized: Download
    """Of the list of records to leave out."""
    records: int
    left_out: int

    @property
    def digest(self) -> str:
        """Stands for the content of the files: 16 hexadecimal digits."""
        files = [*self.archive.files, *self.uncharacterized.files]
        return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()[:16]


# The addresses of torch_geometric.datasets.QM9. They publish no checksum; these are on record for
# what they serve: gdb9.sdf and its CSV in huggingface.co/datasets/RichXuOvO/HFQm9 and in several
# projects that pin PyG's download, uncharacterized.txt in tensorflow/datasets (qm9/checksums.tsv).
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
"""Molecules that are there."""

HARTREE = 27.211386246
"""In eV, as PyG has it."""

KCAL_PER_MOL = 0.04336414
"""In eV, as PyG has it."""

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
"""Name -> unit, and what the raw value is multiplied by.

Dipole moment, isotropic polarisability, energies of the highest occupied and lowest unoccupied
orbital and the gap between them, electronic spatial extent, zero-point vibrational energy,
internal energy at 0 K and at 298.15 K, enthalpy, free energy and heat capacity at 298.15 K, the
four energies again relative to free atoms, and the three rotational constants.
"""

CSV_COLUMNS = ("name", "A", "B", "C", *list(TARGETS)[:-3])

HEADER_LINES = 9
"""Of ``uncharacterized.txt``, which ends with one line that is no entry either."""

CHUNK = 500
"""Records a work item: under a second of one core."""

SEPARATOR = b"\n$$$$"
"""Begins the last line of a record."""


def table_file(
    folder: Path, raw: RawSet, parallel: ParallelMap, notify: Callable[[str], None]
) -> Path:
    """The molecule table of QM9 as a Parquet file, made where it is not there yet.

    Args:
        folder: Keeps the table, and in ``raw/`` the raw files, which the user may put there. The
            table is named after the published content, and does without the raw files.
        raw: What is published.
        parallel: Runs `read_records`.
        notify: Is told what was downloaded.

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
    """Of the table's file: what is published, and how it is read."""
    return f"molecules-{raw.digest}-v{VERSION}.parquet"


def read_raw(folder: Path, raw: RawSet, parallel: ParallelMap) -> pa.Table:
    """The molecule table that a folder of raw files holds.

    Raises:
        InputError: If a file is cut off or malformed, or has not as many records as published.
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
        # Rounded before it is multiplied, as PyG does it.
        values = properties.column(name).to_numpy()[kept].astype(np.float32) * np.float32(factor)
        field = pa.field(name, pa.float32(), metadata={"unit": unit})
        table = table.append_column(field, pa.array(values))
    return table


def _miscounted(path: Path, found: int, expected: int) -> str:
    return f"{path} holds {found:,} records, expected {expected:,}: remove it, get it again"


def _uncharacterized(path: Path, raw: RawSet) -> np.ndarray:
    """Places of the records to leave out, from 0, ascending."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[HEADER_LINES:-2]
    try:
        places = np.unique([int(line.split()[0]) - 1 for line in lines])
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} has a line that begins with no number: {error}") from error
    if len(places) != raw.left_out:
        raise InputError(_miscounted(path, len(places), raw.left_out))
    return places


def _properties(path: Path, raw: RawSet) -> pa.Table:
    """The CSV file: `CSV_COLUMNS`, in the units of the file."""
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
    """Some records of the SDF file, as text that travels to another process."""

    first: int
    records: int
    text: bytes
    skipped: frozenset[int]
    """Of the whole file, from 0."""


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
    """Structures as a molecule table without targets; reads as PyG does, without sanitisation.

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
    """Source, target and type of every bond, once: (bonds, 3)."""
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
    """Finds the table in the cache, or makes it of the raw files, downloaded where they are not.

    Raises:
        InputError: See `table_file`.
    """
    table = partial(table_file, cache.folder / "qm9", PUBLISHED, parallel, notify)
    cache.get(f"qm9/{table_name(PUBLISHED)}", lambda _: table())
    return read_table(table(), wanted.target)  # checks the raw files as well, where they are


SOURCE = Source(
    key="qm9",
    title="QM9",
    description=(
        f"the {SIZE:,} of QM9, downloaded, with features, targets and units of PyTorch Geometric"
    ),
    targets={name: unit for name, (unit, _) in TARGETS.items()},
    size=SIZE,
    load=load,
    # Some 75 molecules are there twice, by both structures of an aromatic ring; recorded splits
    # go by the text.
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
