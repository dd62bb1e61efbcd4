"""How good a study's champion is beyond its split: on molecules that are larger, too.

    python benchmarks/gnn_beyond.py qm9-gfn2 --molecules ../shared/data/qm9.parquet

A study with the homework's split has seen the first 12,000 rows of its table. The champion's
trainings, each on a fresh seed, predict molecules drawn at random from the rows after them, once,
and are scored by the number of heavy atoms, zwitterions on their own; before these stands what
they scored on the test split when the study ended. Where they correct a prior, it is scored alone
and with a line fitted to it, too. The scores replace those of the same study in
docs/results/gnn-beyond.csv, of which the table is made:

    python benchmarks/gnn_beyond.py --show
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.polynomial import Polynomial
from rdkit import Chem, rdBase

from analysis import predictions
from analysis.champion import champion_of
from analysis.command_line import add_runs_dir
from analysis.markdown import table as markdown_table
from analysis.predict_molecules import by_seed, graphs_of
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.document import spread
from benchmarks.result_table import RESULTS, read_rows, scored, write_rows
from datasets.errors import InputError
from datasets.features import digest_of
from datasets.molecules import ragged, read_table, target_values
from datasets.splits import HOMEWORK
from datasets.typed_paths import typed_path
from record import names
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.tracking_uri import tracking_uri

ROWS = RESULTS / "gnn-beyond.csv"

TEST, ALL, ZWITTERIONS = "test split", "all beyond", "zwitterions"


@dataclass(frozen=True)
class Row:
    """Scores of one training, or of what predicts without a network, on some molecules.

    Attributes:
        study: Name of the study.
        model: Title of the champion's configuration, or `predictions.PRIOR` or `LINE`.
        seed: Of the training; 0 without one.
        group: Which molecules: `TEST`, or see `groups`.
        molecules: How many.
        r2: R², about the mean of these molecules.
        mae: Mean absolute error, in D.
        worst: Largest absolute error, in D.
    """

    study: str
    model: str
    seed: int
    group: str
    molecules: int
    r2: float
    mae: float
    worst: float


def is_zwitterion(smiles: str) -> bool:
    """Whether a molecule has a positive atom that is bonded to no negative one, as ammonium has in
    an amino acid; opposite charges within a nitro group or an N-oxide do not count."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return False
    return any(
        atom.GetFormalCharge() > 0
        and not any(other.GetFormalCharge() < 0 for other in atom.GetNeighbors())
        for atom in molecule.GetAtoms()
    )


def groups(smiles: Sequence[str], heavy: np.ndarray) -> Mapping[str, np.ndarray]:
    """Groups molecules by size, zwitterions on their own, and all together.

    Args:
        smiles: SMILES of the molecules.
        heavy: Number of atoms of each but hydrogen, (molecules,).

    Returns:
        Name of a group -> whether each molecule is in it, (molecules,) bool; empty ones are left
        out.
    """
    zwitterions = np.array([is_zwitterion(each) for each in smiles], bool)
    sizes = {
        f"{size} heavy atoms": (heavy == size) & ~zwitterions for size in np.unique(heavy).tolist()
    }
    every = {ALL: np.ones(len(heavy), bool), **sizes, ZWITTERIONS: zwitterions}
    return {name: chosen for name, chosen in every.items() if chosen.any()}


def scores(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """R², NaN for a single molecule, mean and largest absolute error of predictions, (molecules,),
    in D."""
    error = prediction - target
    total = ((target - target.mean()) ** 2).sum()
    found = {
        "r2": 1 - (error**2).sum() / total if total > 0 else np.nan,
        "mae": np.abs(error).mean(),
        "worst": np.abs(error).max(),
    }
    return {name: round(float(value), 5) for name, value in found.items()}


def beyond(table: pa.Table, count: int) -> pa.Table:
    """Draws rows of a table of molecules after those of the homework's split, with seed 0.

    Raises:
        InputError: If there are none.
    """
    later = np.arange(sum(HOMEWORK), table.num_rows)
    if not len(later):
        raise InputError(
            f"--molecules has {table.num_rows:,} rows: expected more than the {sum(HOMEWORK):,} "
            "of the homework's split"
        )
    drawn = np.random.default_rng(0).choice(later, min(count, len(later)), replace=False)
    return table.take(np.sort(drawn))


def check_unseen(study: RecordedStudy, table: pa.Table) -> None:
    """Checks that a study has seen no rows of a table after those of the homework's split.

    Raises:
        InputError: If it has another split or learned from other rows, or its target is no dipole
            moment.
    """
    split = study.params.get("data.split")
    if split != "homework":
        raise InputError(
            f"{study.name} has the split {split}: expected homework, after whose rows no molecule "
            "was seen"
        )
    if study.unit != "D":
        raise InputError(f"{study.name} predicts in {study.unit}: expected dipole moments in D")
    seen = digest_of(table.slice(0, sum(HOMEWORK)), study.params["data.target"])
    if study.params[names.DIGEST].partition(":")[0] != seen:
        raise InputError(
            f"{study.name} learned from other rows than the first {sum(HOMEWORK):,} of "
            "--molecules, and may have seen the rest: expected the table of the study"
        )


def measured(study: RecordedStudy, table: pa.Table) -> Iterator[Row]:
    """Scores the champion of a study on all molecules of a table that have a valid geometry and,
    if it corrects a prior, for which that converges; prints the number of the others.

    Raises:
        InputError: If the study has no champion.
    """
    champion, graphs = champion_of(study), graphs_of(study, table)
    if left_out := table.num_rows - len(graphs):
        print(f"left out {left_out:,} of {table.num_rows:,} molecules")
    title, seeds = champion.trial.title, champion.seeds
    tested = [scored(study, final, predictions.of_trial) for final, _ in champion.finals]
    known = tested[0]
    on_test = [(title, seed, each.prediction) for seed, each in zip(seeds, tested, strict=True)]
    on_test += [(name, 0, values) for name, values in known.of_prior.items()]
    for model, seed, values in on_test:
        found = scores(values, known.target)
        yield Row(study.name, model, seed, TEST, len(known.target), **found)

    numbers, offsets = ragged(table, "atomic_numbers")
    heavy = np.add.reduceat((numbers > 1).astype(int), offsets[:-1])[graphs.rows]
    smiles = table.column("smiles").to_pylist()
    target = target_values(table, study.params["data.target"])[graphs.rows]
    beyond_it = [
        (title, seed, values)
        for seed, values in zip(seeds, by_seed(champion, graphs), strict=True)
    ]
    if graphs.prior is not None:
        lengths = np.linalg.norm(graphs.prior.astype(float), axis=1)
        line = Polynomial.fit(known.prior, known.line, deg=1)  # that of the train split
        beyond_it += [(predictions.PRIOR, 0, lengths), (predictions.LINE, 0, line(lengths))]
    for name, chosen in groups([smiles[row] for row in graphs.rows], heavy).items():
        for model, seed, values in beyond_it:
            found = scores(values[chosen], target[chosen])
            yield Row(study.name, model, seed, name, int(chosen.sum()), **found)


def shown(rows: Sequence[Row]) -> str:
    """Makes the table of the scores, means and deviations over the seeds."""
    together: dict[tuple[str, str, str, int], list[Row]] = {}
    for row in rows:
        together.setdefault((row.study, row.model, row.group, row.molecules), []).append(row)
    lines = [
        [
            study,
            model,
            group,
            f"{molecules:,}",
            "-" if np.isnan(some[0].r2) else spread([row.r2 for row in some], 4),
            spread([row.mae for row in some], 4),
            f"{max(row.worst for row in some):.2f}",
        ]
        for (study, model, group, molecules), some in together.items()
    ]
    head = ["study", "model", "molecules", "number", "R²", "MAE (D)", "largest error (D)"]
    return markdown_table(head, lines)


def main(argv: Sequence[str]) -> None:
    """Scores a champion, replaces its rows and prints the table.

    Raises:
        InputError: If the options make no sense, or the molecules cannot be scored.
    """
    typed = _parsed(argv)
    rows = recorded(typed.file)
    if typed.show == (typed.study is not None):
        raise InputError("expected the name of a study and --molecules FILE, or --show alone")
    if not typed.show:
        if typed.molecules is None:
            raise InputError("expected --molecules FILE.parquet beside the name of a study")
        folder = StudyFolder(typed.runs_dir, typed.study)
        study = recorded_study(folder, tracking_uri(typed.runs_dir)).in_mlflow()
        table = read_table(typed.molecules)
        check_unseen(study, table)
        made = measured(study, beyond(table, typed.count))
        rows = [*(row for row in rows if row.study != study.name), *made]
        write_rows(Row, rows, typed.file)
    print(shown(rows))


def recorded(file: Path = ROWS) -> list[Row]:
    """The rows of docs/results/gnn-beyond.csv, or of another file; none if it does not exist."""
    return read_rows(Row, file) if file.exists() else []


def _parsed(argv: Sequence[str]) -> Namespace:
    parser = Parser(__doc__)
    parser.add_argument("study", nargs="?", metavar="NAME", help="a recorded study")
    parser.add_argument("--molecules", type=typed_path, metavar="FILE", help="the whole table")
    parser.add_defaulting("--count", positive, 10_000, "molecules that are drawn")
    parser.add_argument("--file", type=typed_path, default=ROWS, help="CSV file of the rows")
    parser.add_argument("--show", action="store_true", help="print the table, measure nothing")
    add_runs_dir(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
