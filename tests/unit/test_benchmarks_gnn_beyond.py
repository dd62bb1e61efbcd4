"""Molecules beyond a study's split: which they are, how they are grouped, scored and tabulated."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from recorded_study import study_of, trial

from benchmarks import gnn_beyond
from benchmarks.gnn_beyond import (
    ALL,
    ZWITTERIONS,
    Row,
    beyond,
    check_unseen,
    groups,
    is_zwitterion,
    scores,
    shown,
)
from datasets.errors import InputError
from trainables.models.gnn import GNNConfig

ROW = Row("s", "gat 3x64", 1, ALL, 1000, 0.99, 0.1, 1.5)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("C[NH2+]CC([O-])=O", True),
        ("[NH3+]CC([O-])=O", True),
        ("C[N+](=O)[O-]", False),
        ("CCO", False),
        ("no molecule", False),
    ],
)
def test_a_zwitterion_has_its_charges_apart(smiles: str, expected: bool) -> None:
    assert is_zwitterion(smiles) == expected


def test_molecules_are_grouped_by_size_and_zwitterions_on_their_own() -> None:
    smiles = ["CCO", "CC", "[NH3+]CC([O-])=O", "CCC"]
    found = groups(smiles, np.array([3, 2, 5, 3]))
    assert {name: chosen.tolist() for name, chosen in found.items()} == {
        ALL: [True] * 4,
        "2 heavy atoms": [False, True, False, False],
        "3 heavy atoms": [True, False, False, True],
        ZWITTERIONS: [False, False, True, False],
    }


def test_scores_are_those_worked_out_by_hand() -> None:
    found = scores(np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    assert found == {"r2": 1 - 4 / 2, "mae": pytest.approx(0.66667), "worst": 2.0}
    assert np.isnan(scores(np.array([1.0]), np.array([2.0]))["r2"])


def test_only_rows_after_the_split_are_drawn_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gnn_beyond, "HOMEWORK", (10, 2, 2))
    table = pa.table({"row": range(40)})
    drawn = beyond(table, 5).column("row").to_pylist()
    assert len({*drawn}) == 5 and drawn == sorted(drawn)
    assert beyond(table, 5).column("row").to_pylist() == drawn
    assert beyond(table, 100).column("row").to_pylist() == [*range(14, 40)]
    with pytest.raises(InputError, match="has 14 rows: expected more than the 14 of the homework"):
        beyond(table.slice(0, 14), 5)


def test_a_study_of_another_split_is_refused() -> None:
    study = study_of([trial(0, GNNConfig(), 0.5)])
    with pytest.raises(InputError, match="s has the split random: expected homework"):
        check_unseen(study, pa.table({}))


def test_the_table_has_means_over_seeds() -> None:
    text = shown([ROW, replace(ROW, seed=2, r2=0.97, mae=0.2, worst=2.5)])
    *_, line = text.splitlines()
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        *("s", "gat 3x64", ALL, "1,000"),
        *("0.9800 ± 0.0141", "0.1500 ± 0.0707", "2.50"),
    ]


def test_without_a_study_nothing_is_measured() -> None:
    with pytest.raises(InputError, match="--molecules FILE, or --show alone"):
        gnn_beyond.main([])
    with pytest.raises(InputError, match="--molecules FILE, or --show alone"):
        gnn_beyond.main(["some-study", "--show"])
    with pytest.raises(InputError, match=r"expected --molecules FILE\.parquet beside"):
        gnn_beyond.main(["some-study"])
