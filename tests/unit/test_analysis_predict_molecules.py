"""What is written of predictions."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from analysis.predict_molecules import Predicted, no_formula, write

SMILES = ['=HYPERLINK("http://a.b","CCO")', "+1", "-1", "@SUM(A1)", "\t=1", "C\r=1", "\n=1", "CCO"]


def written(path: Path, target: str = "mu", unit: str = "D") -> Path:
    """Predictions for molecules that a table with bonds calls by any text."""
    found = Predicted(np.arange(8), SMILES, np.full((1, 8), -0.5), left_out=0)
    runs = cast(Any, SimpleNamespace(params={"data.target": target}, unit=unit))
    write(found, runs, cast(Any, SimpleNamespace(seeds=[7])), path)
    return path


def test_no_text_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    path = written(tmp_path / "p.csv", target="=1+1", unit="@D")
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [
        *("row", "smiles", "'=1+1 (@D)", "standard deviation (@D)", "seeds", "seed 7 (@D)")
    ]
    assert [row[1] for row in rows] == [
        *('\'=HYPERLINK("http://a.b","CCO")', "'+1", "'-1", "'@SUM(A1)"),
        *("' =1", "C =1", "' =1", "CCO"),
    ]
    assert {row[2] for row in rows} == {"-0.5"}, "a number is one, whatever its sign"


def test_a_parquet_file_has_the_texts_as_they_are(tmp_path: Path) -> None:
    assert pd.read_parquet(written(tmp_path / "p.parquet"))["smiles"].tolist() == SMILES


@pytest.mark.parametrize("smiles", ["CCO", "[OH-]", "c1ccccc1", "", "O=C=O"])
def test_a_smiles_stays_as_it_is(smiles: str) -> None:
    assert no_formula(smiles) == smiles
