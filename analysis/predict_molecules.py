"""Predictions of a study's champion for new molecules."""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from analysis import predictions
from analysis.champion import Champion
from analysis.markdown import table as markdown_table
from datasets.features import NEAREST
from datasets.files import write_whole
from datasets.graphs import Graphs, GraphStore
from datasets.molecules import read_table
from datasets.new_molecules import from_smiles, graphs_as_learned
from datasets.prior import moments_of, with_moments
from datasets.sources import recorded_source
from record.recorded_study import RecordedStudy
from trainables.models.gnn import GNNConfig
from trainables.molecules import predict

SHOWN = 50
"""Largest number of molecules that are printed; --output writes all of them."""

FORMULA = ("=", "+", "-", "@")
"""First characters of a cell that spreadsheets take for a formula."""

DECIMALS = 4
"""Decimals of a printed prediction that has no spread over seeds."""


@dataclass(frozen=True)
class Predicted:
    """Predictions for some molecules.

    Attributes:
        rows: (molecules,) int64, position of each in the given list or table, from 0.
        smiles: The SMILES of each, as it was given.
        by_seed: (seeds, molecules) float64, predictions in the target's unit.
        left_out: Number of further molecules that were given but have no valid geometry, or no
            prior that the study needs.
    """

    rows: np.ndarray
    smiles: Sequence[str]
    by_seed: np.ndarray
    left_out: int

    @property
    def mean(self) -> np.ndarray:
        """Mean prediction over the seeds, (molecules,)."""
        return self.by_seed.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the seeds, (molecules,); NaN for a single seed."""
        if len(self.by_seed) == 1:
            return np.full(self.by_seed.shape[1], np.nan)
        return self.by_seed.std(axis=0, ddof=1)


def of_smiles(study: RecordedStudy, champion: Champion, smiles: Sequence[str]) -> Predicted:
    """Predicts molecules given as SMILES, each at one generated conformer.

    Raises:
        InputError: If a SMILES is not one of a molecule that can be treated, see
            `datasets.new_molecules.from_smiles`.
    """
    return _predicted(study, champion, from_smiles(smiles), smiles)


def of_file(study: RecordedStudy, champion: Champion, path: Path) -> Predicted:
    """Predicts the molecules of a table file, at the geometries given there.

    Raises:
        InputError: If the file is no molecule table, or its molecules are not valid, see
            `datasets.new_molecules.graphs_as_learned`.
    """
    table = read_table(path)
    return _predicted(study, champion, table, table.column("smiles").to_pylist())


def _predicted(
    study: RecordedStudy, champion: Champion, table: pa.Table, smiles: Sequence[str]
) -> Predicted:
    graphs = graphs_of(study, table)
    return Predicted(
        rows=graphs.rows,
        smiles=[smiles[int(row)] for row in graphs.rows],
        by_seed=by_seed(champion, graphs),
        left_out=len(smiles) - len(graphs),
    )


def graphs_of(study: RecordedStudy, table: pa.Table) -> Graphs:
    """Makes the graphs of new molecules as those of a study are, with its prior if it has one;
    `rows` are those of the table.

    Raises:
        InputError: If no molecule is valid, or the prior cannot be computed.
    """
    graphs = graphs_as_learned(table, study.fact("bonds") == "listed")
    if study.params.get("data.prior", "none") == "none":
        return graphs
    return with_moments(graphs, moments_of(graphs))


def by_seed(champion: Champion, graphs: Graphs) -> np.ndarray:
    """Predicts graphs by each training of a champion, (seeds, graphs) float64, in the unit of the
    target."""
    every, made = torch.arange(len(graphs)), []
    for final, weights in champion.finals:
        cutoff = GNNConfig(**weights["config"]).pair_cutoff
        store = GraphStore(graphs, torch.device("cpu"), cutoff)
        made.append(predict(predictions.restore(final, weights), store, every).numpy())
    return np.stack(made)


def geometry(study: RecordedStudy) -> str:
    """Returns a remark on how conformers are generated, and how they relate to the training
    geometries."""
    note = recorded_source(study.params["data.dataset"]).geometry_note
    return f"Geometries: one conformer each, by ETKDG and MMFF94{note}."


def left_out(found: Predicted) -> str:
    """Returns a remark on how many molecules were not predicted, and why."""
    return (
        f"Left out {found.left_out:,} molecules: their positions do not fit their SMILES, two "
        f"atoms are nearer than {NEAREST} Angstrom, or GFN2-xTB fails, if the study needs it."
    )


def write(found: Predicted, study: RecordedStudy, champion: Champion, path: Path) -> None:
    """Writes the predictions for all molecules at full precision, as CSV or Parquet, atomically.

    Raises:
        OSError: If the file cannot be written.
    """
    target, unit = study.params["data.target"], study.unit
    table = pd.DataFrame(
        {
            "row": found.rows,
            "smiles": found.smiles,
            f"{target} ({unit})": found.mean,
            f"standard deviation ({unit})": found.spread,
            "seeds": len(found.by_seed),
            **{
                f"seed {seed} ({unit})": values
                for seed, values in zip(champion.seeds, found.by_seed, strict=True)
            },
        }
    )
    if path.suffix == ".csv":
        table = table.assign(smiles=table["smiles"].map(no_formula)).rename(columns=no_formula)
        write_whole(path, table.to_csv(index=False).encode())
    else:
        content = io.BytesIO()
        table.to_parquet(content, index=False)
        write_whole(path, content.getbuffer())


def no_formula(text: str) -> str:
    """Returns a text that no spreadsheet evaluates: on one line, and with an apostrophe in front
    if it would be a formula. No SMILES begins with such a character."""
    line = re.sub(r"[\t\r\n]", " ", text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line


def markdown(found: Predicted, study: RecordedStudy, champion: Champion) -> str:
    """Returns the first `SHOWN` molecules as an aligned Markdown table, with an explanation
    below."""
    target, unit = study.params["data.target"], study.unit
    header = ["molecule", f"{target} ({unit})", f"standard deviation ({unit})", "seeds"]
    columns = (found.smiles[:SHOWN], found.mean[:SHOWN], found.spread[:SHOWN])
    rows = [
        [smiles, *_written(mean, spread), str(len(found.by_seed))]
        for smiles, mean, spread in zip(*columns, strict=True)
    ]
    caption = (
        f"{study.name}: {target} by {champion.title}: mean and standard deviation over "
        f"{champion.trainings}. The error that these have in common is not in it.{champion.remark}"
    )
    more = len(found.smiles) - SHOWN
    others = (
        f"\n{more:,} molecules more: --output FILE.csv writes all of them." if more > 0 else ""
    )
    return f"{markdown_table(header, rows)}\n\n{caption}{others}"


def _written(mean: float, spread: float) -> tuple[str, str]:
    """Formats mean and spread with as many decimals as two significant digits of the spread
    need."""
    if not spread > 0:
        return f"{mean:.{DECIMALS}f}", "—" if math.isnan(spread) else "0"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{mean:.{decimals}f}", f"{spread:.{decimals}f}"
