"""Predictions of the champion: those that were recorded, where the molecules are the study's own;
and one clear line for whatever cannot be predicted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moving_stripes import stripes
from PIL import Image
from trained_studies import DRIVES, FRAMES, MOLECULES, known, recordings

from analysis import (
    champion,
    command_line,
    kept_weights,
    predict,
    predict_molecules,
    predictions,
    rollout_scores,
)
from analysis.opening import opened
from datasets.molecules import molecule_table, write_table
from datasets.recordings import Recordings, write_recordings
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.rollout import CONTEXT

Refused = Callable[..., str]


def champions(study: RecordedStudy) -> Sequence[Trial]:
    assert study.champion is not None
    return study.finalists[study.champion.number]


def change(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Has studies read otherwise than they were recorded."""
    read = command_line.recorded_study

    def changed(*where: Any) -> RecordedStudy:
        return replace(read(*where), **changes)

    monkeypatch.setattr(command_line, "recorded_study", changed)


def recorded(trained_copy: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the test split, and what each final of the champion was recorded to predict."""
    study = known(trained_copy)
    made = [predictions.of_trial(study, final) for final in champions(study)]
    there = [each for each in made if each is not None]
    assert len(there) == 3
    return there[0].row, np.stack([each.prediction for each in there])


def told(trained_copy: Path, cache: Path, *arguments: str) -> int:
    return predict.main([*arguments, "--runs-dir", str(trained_copy), "--data-dir", str(cache)])


def assert_recorded(table: pd.DataFrame, expected: np.ndarray) -> None:
    """That a table has these predictions, (seeds, molecules), to the accuracy of float32."""
    np.testing.assert_allclose(table["mu (D)"], expected.mean(axis=0), rtol=1e-6)
    spread = expected.std(axis=0, ddof=1)
    np.testing.assert_allclose(table["standard deviation (D)"], spread, rtol=1e-4, atol=1e-6)
    assert set(table["seeds"]) == {3}
    for seed, each in zip((1, 2, 3), expected, strict=True):
        np.testing.assert_allclose(table[f"seed {seed} (D)"], each, rtol=1e-6)


def test_the_test_molecules_are_predicted_as_recorded_from_their_smiles(
    trained_copy: Path,
    cache: Path,
    molecule_rows: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, expected = recorded(trained_copy)
    smiles = molecule_rows.take(rows).column("smiles").to_pylist()
    output = tmp_path / "made" / "p.csv"
    assert told(trained_copy, cache, MOLECULES, "--smiles", *smiles, "--output", str(output)) == 0
    table = pd.read_csv(output)
    assert table["smiles"].tolist() == smiles
    assert_recorded(table, expected)
    said = capsys.readouterr().out
    mean, spread = expected.mean(axis=0)[0], expected.std(axis=0, ddof=1)[0]
    _, molecule, shown, deviation, seeds, _ = map(str.strip, said.splitlines()[2].split("|"))
    assert (molecule, seeds) == (smiles[0], "3")
    assert float(shown) == pytest.approx(mean, abs=0.06 * spread)
    assert float(deviation) == pytest.approx(spread, rel=0.06)
    assert "mu by the champion" in said
    assert "seeds 1, 2, 3" in said
    assert "ETKDG and MMFF94, as those that the model was trained on." in said


def test_the_test_molecules_are_predicted_as_recorded_from_a_table_without_targets(
    trained_copy: Path, cache: Path, molecule_rows: pa.Table, tmp_path: Path
) -> None:
    rows, expected = recorded(trained_copy)
    table = molecule_rows.drop_columns("mu").take(rows)
    write_table(table, tmp_path / "test.parquet")
    output = tmp_path / "p.parquet"
    given = ["--molecules", str(tmp_path / "test.parquet")]
    assert told(trained_copy, cache, MOLECULES, *given, "--output", str(output)) == 0
    found = pq.read_table(output).to_pandas()
    assert found["row"].tolist() == list(range(len(rows)))
    assert_recorded(found, expected)


def test_molecules_whose_positions_do_not_fit_are_left_out_and_counted(
    trained_copy: Path,
    cache: Path,
    molecule_rows: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    smiles = molecule_rows.column("smiles").to_pylist()
    wrong = molecule_rows.set_column(0, "smiles", pa.array(["CCCCCCCCCC", *smiles[1:]]))
    write_table(wrong, tmp_path / "wrong.parquet")
    output = tmp_path / "p.csv"
    given = ["--molecules", str(tmp_path / "wrong.parquet"), "--output", str(output)]
    assert told(trained_copy, cache, MOLECULES, *given) == 0
    said = capsys.readouterr().out
    assert "Left out 1 molecules" in said
    assert pd.read_csv(output)["row"].tolist() == list(range(1, 120))
    assert "69 molecules more: --output FILE.csv writes all of them." in said
    assert said.count("\n| ") == predict_molecules.SHOWN + 1


def test_a_model_that_was_trained_on_other_geometries_is_said_to_be(trained_copy: Path) -> None:
    runs = known(trained_copy)
    for dataset, said in (
        ("qm9", "; the model was trained on those of qm9, which are B3LYP's."),
        ("mine.parquet", "; the model was trained on those of mine.parquet."),
    ):
        other = replace(runs, params={**runs.params, "data.dataset": dataset})
        assert predict_molecules.geometry(other).endswith(f"by ETKDG and MMFF94{said}")


def test_bonds_are_those_that_the_study_learned_from(
    trained_copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A study of QM9's files knows no aromatic atom, so a benzene is another molecule to it."""
    made = {}
    study = known(trained_copy)
    assert study.fact("bonds") == "of the SMILES"
    for bonds in ("of the SMILES", "listed"):
        output = tmp_path / "p.csv"
        smiles = ("--smiles", "c1ccccc1", "CC")
        with monkeypatch.context() as patch:
            change(patch, params={**study.params, "facts.bonds": bonds})
            assert told(trained_copy, cache, MOLECULES, *smiles, "--output", str(output)) == 0
        made[bonds] = pd.read_csv(output)["mu (D)"]
    assert (made["of the SMILES"] != made["listed"]).all()


def test_one_training_has_no_spread(
    trained_copy: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *others = champions(known(trained_copy))
    lost = {other.number for other in others}
    weights = kept_weights.weights
    monkeypatch.setattr(
        champion,
        "weights",
        lambda study, trial: None if trial.number in lost else weights(study, trial),
    )
    assert told(trained_copy, cache, MOLECULES, "--smiles", "CCO") == 0
    said = capsys.readouterr().out
    assert re.search(r"\| CCO +\| \d\.\d{4} +\| — +\| 1 ", said)
    assert f"over 1 training, seed {first.config['seed']}." in said


@pytest.fixture
def without_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies as they are with ``--finalists 0``."""
    change(monkeypatch, finals=())


@pytest.mark.usefixtures("without_finals")
def test_without_finals_the_best_trial_predicts_and_is_said_to_be_one_training(
    trained_copy: Path,
    cache: Path,
    molecule_rows: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = known(trained_copy)
    best = study.best(study.trials)
    assert best is not None
    made = predictions.of_trial(study, best)
    assert made is not None
    smiles = molecule_rows.take(made.row).column("smiles").to_pylist()
    output = tmp_path / "p.csv"
    assert told(trained_copy, cache, MOLECULES, "--smiles", *smiles, "--output", str(output)) == 0
    np.testing.assert_allclose(pd.read_csv(output)["mu (D)"], made.prediction, rtol=1e-6)
    said = capsys.readouterr().out
    assert f"mu by the best trial of the search, {best.title} (trial {best.number}):" in said
    assert "over 1 training, seed 0." in said
    assert "It is one training, the search's own, and how far others differ is not known" in said
    assert "champion" not in said


@pytest.mark.usefixtures("without_finals")
def test_without_finals_the_best_trial_dreams(
    trained_copy: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = known(trained_copy, DRIVES)
    best = study.best(study.trials)
    assert best is not None
    made = rollout_scores.of_trial(study, best)
    assert made is not None
    assert told(trained_copy, cache, DRIVES, "--output", str(tmp_path / "dream")) == 0
    table = pd.read_csv(tmp_path / "dream" / "dream.csv")
    np.testing.assert_allclose(table["seed 0"], made.error("autoregressive")[0], rtol=1e-5)
    said = capsys.readouterr().out
    assert "rollouts of the best trial of the search, " in said
    assert "It is one training" in said


def test_the_test_episode_is_dreamt_as_recorded(
    trained_copy: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(trained_copy, cache, DRIVES) == 0
    report = trained_copy / DRIVES / "report"
    study = known(trained_copy, DRIVES)
    made = [rollout_scores.of_trial(study, final) for final in champions(study)]
    expected = np.stack([each.error("autoregressive")[0] for each in made if each is not None])
    table = pd.read_csv(report / "dream.csv")
    assert table["horizon"].tolist() == list(range(1, FRAMES - CONTEXT + 1))
    for seed, errors in zip((1, 2), expected, strict=True):
        np.testing.assert_allclose(table[f"seed {seed}"], errors, rtol=1e-5)
    np.testing.assert_allclose(
        table["mse (squared pixel values)"], expected.mean(axis=0), rtol=1e-5
    )
    deviation = table["standard deviation over the seeds"]
    np.testing.assert_allclose(deviation, expected.std(axis=0, ddof=1), rtol=1e-3)
    assert made[0] is not None
    np.testing.assert_allclose(table["freeze"], made[0].error("freeze")[0], rtol=1e-5)
    with Image.open(report / "dream.gif") as film:
        assert getattr(film, "n_frames", 1) == FRAMES - CONTEXT
        assert film.size[0] == 4 * 192, "the truth, two seeds, and freeze"
    said = capsys.readouterr().out
    assert "number 0 of the 2 test episodes of drives" in said
    assert re.search(r"\n\| 10 +\|", said)
    assert str(report / "dream.gif") in said


def test_an_episode_of_a_recording_is_dreamt_into_a_folder(
    trained_copy: Path, cache: Path, tmp_path: Path
) -> None:
    """The study's second test episode by its place in the file, and by its place in the split."""
    episode = opened(known(trained_copy, DRIVES), cache, None).drives.split.test[1]
    given = ["--recordings", str(recordings(trained_copy)), "--episode", str(episode)]
    assert told(trained_copy, cache, DRIVES, *given, "--output", str(tmp_path / "file")) == 0
    assert (
        told(trained_copy, cache, DRIVES, "--episode", "1", "--output", str(tmp_path / "own")) == 0
    )
    one, other = (pd.read_csv(tmp_path / each / "dream.csv") for each in ("file", "own"))
    pd.testing.assert_frame_equal(one, other)
    assert (tmp_path / "file" / "dream.gif").is_file()


@pytest.fixture
def refused(
    trained_copy: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Predicts what cannot be; returns the one line that was said."""

    def refused(*arguments: str) -> str:
        assert told(trained_copy, cache, *arguments, "--output", str(tmp_path / "out.csv")) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1, said.err
        assert not list(tmp_path.glob("out*")), "something was written"
        return said.err

    return refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MOLECULES], "molecules predicts molecules: give either --smiles or --molecules"),
        (
            [MOLECULES, "--smiles", "C", "--molecules", "x.parquet"],
            "either --smiles or --molecules",
        ),
        (
            [MOLECULES, "--recordings", "x.arrow", "--episode", "0"],
            "--recordings and --epi",
        ),
        ([MOLECULES, "--smiles", "CCO", "CC("], "RDKit rejects the SMILES 'CC(': correct it"),
        ([MOLECULES, "--smiles", "CCO", "CCS"], "CCS has S: expected H, C, N, O and F only"),
        ([MOLECULES, "--smiles", "C1#CC1"], "no conformer for SMILES 'C1#CC1'"),
        ([MOLECULES, "--molecules", "no.parquet"], "no file no.parquet: expected a Parquet file"),
        (
            [DRIVES, "--smiles", "CCO"],
            "drives is a study of drives: --smiles cannot be",
        ),
        ([DRIVES], "out.csv: expected a folder, as drives is of drives"),
        (["none", "--smiles", "CCO"], "no study none in"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    refused: Refused, arguments: list[str], said: str
) -> None:
    assert said in refused(*arguments)


def test_an_output_of_another_kind_is_refused_before_anything_is_predicted(
    trained_copy: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "p.xlsx")
    assert told(trained_copy, cache, MOLECULES, "--smiles", "CCO", "--output", output) == 2
    assert "p.xlsx: expected FILE.csv or FILE.parquet" in capsys.readouterr().err


def test_a_table_with_another_element_is_refused(refused: Refused, tmp_path: Path) -> None:
    methanethiol = molecule_table(
        ["CS"], [np.array([6, 16, 1, 1, 1, 1])], [np.zeros((6, 3))], targets={}
    )
    write_table(methanethiol, tmp_path / "sulphur.parquet")
    said = refused(MOLECULES, "--molecules", str(tmp_path / "sulphur.parquet"))
    assert "row 0 (CS) has atomic number(s) [16]: expected H, C, N, O, F" in said


def test_other_drives_than_the_study_s_are_refused(
    trained_copy: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recordings(stripes(20, FRAMES, seed=1), tmp_path / "other.arrow")
    given = ["--data", str(tmp_path / "other.arrow"), "--output", str(tmp_path / "out")]
    assert told(trained_copy, cache, DRIVES, *given) == 2
    error = capsys.readouterr().err
    assert "error: these are not the data of drives: their digest is" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def shortened(frames: int) -> Recordings:
    """One episode."""
    return stripes(1, frames)


@pytest.mark.parametrize(
    ("file", "episode", "said"),
    [
        ("none.arrow", "0", "no file"),
        ("drives.csv", "0", "expected the path of an .arrow or .pkl file"),
        ("broken.arrow", "0", "cannot be read: expected a whole Arrow file of recordings"),
        ("short.arrow", "0", "--episode 0 has 10 frames: expected more than the 10"),
        ("long.arrow", "1", "no --episode 1: there are 1 episodes in"),
        ("long.arrow", "-1", "no --episode -1: there are 1 episodes in"),
        ("wide.arrow", "0", "has frames of 64 pixels: drives was trained on 32"),
    ],
)
def test_recordings_that_cannot_be_dreamt_are_one_line(
    trained_copy: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    episode: str,
    said: str,
) -> None:
    write_recordings(shortened(CONTEXT), tmp_path / "short.arrow")
    write_recordings(shortened(20), tmp_path / "long.arrow")
    wide = shortened(20)
    wider = replace(wide, frames=np.kron(wide.frames, np.ones((1, 1, 2, 2), np.uint8)))
    write_recordings(wider, tmp_path / "wide.arrow")
    (tmp_path / "broken.arrow").write_text("no recording")
    given = ["--recordings", str(tmp_path / file), "--episode", episode]
    assert told(trained_copy, cache, DRIVES, *given, "--output", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"finals": (), "trials": ()},
            "no trial of molecules finished: there is nothing to predict with",
        ),
        (
            {"status": "KILLED"},
            "molecules has not come to its end (KILLED), where its champion",
        ),
    ],
)
def test_a_study_without_a_champion_says_what_to_do(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    change(monkeypatch, **changes)
    assert said in refused(MOLECULES, "--smiles", "CCO")


def test_weights_that_were_not_kept_are_one_line(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "weights", lambda *_: None)
    assert "the champion of molecules, were not kept: nothing can" in refused(
        MOLECULES, "--smiles", "CCO"
    )
