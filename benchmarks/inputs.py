"""The molecules of a benchmark: those of a study, or prepared graphs where RDKit is missing."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.command_line import Parser, not_negative, positive
from datasets.errors import InputError
from datasets.graphs import Graphs
from datasets.splits import Split, split_rows
from datasets.typed_paths import typed_address, typed_path


@dataclass(frozen=True)
class Inputs:
    """Molecules to learn from.

    Attributes:
        graphs: With bonds as edges.
        split: Places in them.
        title: Where they came from and how many there are.
    """

    graphs: Graphs
    split: Split
    title: str


def add_options(parser: Parser) -> None:
    """Adds the options that `open_inputs` reads."""
    parser.add_argument(
        "--dataset",
        type=typed_address,
        default="gfn2",
        help="gfn2, generated on the spot; qm9; or the path of a molecule table, FILE.parquet "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--molecules",
        type=positive,
        help="how many; by default 4,096 of gfn2, all of the others",
    )
    parser.add_data_dir()
    parser.add_defaulting("--seed", not_negative, 0, "seeds the split and weights")


def add_graphs_option(parser: Parser) -> None:
    """Adds ``--graphs``, for machines that have torch and torch-geometric only."""
    parser.add_argument(
        "--graphs",
        type=typed_path,
        metavar="FOLDER",
        help="prepared molecules, a folder data/graphs-... of another machine, instead of "
        "--dataset: needs neither RDKit nor PyArrow",
    )


def open_inputs(arguments: Namespace) -> Inputs:
    """The molecules that the options name, split at random.

    Raises:
        InputError: If they cannot be used.
    """
    if getattr(arguments, "graphs", None) is not None:
        return _prepared(arguments.graphs, arguments.molecules, arguments.seed)
    # Brings RDKit and PyArrow along, which prepared molecules do without.
    from datasets.sources import MoleculeOptions, open_molecules

    options = MoleculeOptions(dataset=arguments.dataset, molecules=arguments.molecules)
    molecules = open_molecules(options, arguments.seed, arguments.data_dir)
    title = f"{len(molecules.graphs):,} molecules of {Path(arguments.dataset).stem}"
    return Inputs(molecules.graphs, molecules.split, title)


def _prepared(folder: Path, molecules: int | None, seed: int) -> Inputs:
    """The first molecules of a folder of prepared ones.

    Raises:
        InputError: If there are none.
    """
    if not (folder / "targets.npy").is_file():
        raise InputError(f"--graphs {folder}: expected a folder that datasets/graphs.py saved")
    graphs = Graphs.load(folder)
    places = np.arange(len(graphs))[:molecules]
    split = split_rows(places, "random", seed)
    return Inputs(graphs, split, f"{len(places):,} molecules of {folder.name}")
