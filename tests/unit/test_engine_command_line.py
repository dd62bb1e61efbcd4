"""The command line that is read off the dataclasses."""

from dataclasses import fields
from pathlib import Path

import pytest

from datasets.driving import DrivingOptions
from datasets.errors import InputError
from datasets.sources import MoleculeOptions
from engine.command_line import CommandLine, parse
from engine.options import Options
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import WorldModelConfig


@pytest.fixture(autouse=True)
def _no_defaults_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORRERY_FINALISTS", raising=False)


def typed(*arguments: str) -> CommandLine:
    return parse(arguments, "Why?", MoleculeOptions, GNNConfig)


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        typed("--help")
    text = " ".join(capsys.readouterr().out.split())
    for kind in (Options, MoleculeOptions, GNNConfig):
        for field in fields(kind):
            assert f"--{field.name.rstrip('_').replace('_', '-')} " in text
    assert "Longest distance edge, in Angstrom. (searched)" in text
    assert "Trials in all" in text
    assert "half a cosine down to 0" in text, "the help of an inherited field"


def test_nothing_typed_gives_the_defaults() -> None:
    assert typed() == CommandLine(Options(), MoleculeOptions(), {})


def test_values_arrive_with_their_types() -> None:
    line = typed(
        *("--trials", "3", "--time-budget", "1.5", "--local", "--target", "gap"),
        *(
            "--dataset",
            "x.parquet",
            "--width",
            "48",
            "--edges",
            "bonds",
            "--head",
            "mean",
            "dipole",
        ),
        *("--standardize", "false", "--runs-dir", "elsewhere"),
    )
    assert line.options == Options(
        trials=3, time_budget=1.5, local=True, runs_dir=Path("elsewhere")
    )
    assert line.data == MoleculeOptions(dataset="x.parquet", target="gap")
    assert line.given == {
        "width": [48],
        "edges": ["bonds"],
        "head": ["mean", "dipole"],
        "standardize": [False],
    }


def test_several_numbers_and_truth_values_are_taken_of_one_epochs_and_seed() -> None:
    line = typed(
        *("--width", "48", "32", "--gradient-clip", "0.5", "1"),
        *("--standardize", "true", "false"),
    )
    assert line.given == {
        "gradient_clip": [0.5, 1.0],
        "width": [48, 32],
        "standardize": [True, False],
    }
    for single in ("--epochs", "--seed"):
        with pytest.raises(InputError, match="unrecognized arguments: 3"):
            typed(single, "2", "3")


def test_names_of_earlier_studies_are_one_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed("--from", "one", "two", "--local").options == Options(
        from_=("one", "two"), local=True
    )
    monkeypatch.setenv("ORRERY_FROM", "three four")
    assert typed().options.from_ == ("three", "four")
    assert typed("--from", "one").options.from_ == ("one",)


def test_a_file_of_configurations_is_a_path(home: Path) -> None:
    assert typed("--configurations", "~/c.json").options.configurations == home / "c.json"


def test_a_truth_value_must_be_true_or_false() -> None:
    with pytest.raises(InputError, match="--standardize: expected true or false, got 'yes'"):
        typed("--standardize", "yes")


@pytest.mark.parametrize(("typed_as", "value"), [("auto", "auto"), ("0.25", 0.25), ("1", 1.0)])
def test_a_number_may_have_a_word_in_its_place(
    monkeypatch: pytest.MonkeyPatch, typed_as: str, value: float | str
) -> None:
    assert typed("--gpus-per-trial", typed_as).options == Options(gpus_per_trial=value)  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv("ORRERY_GPUS_PER_TRIAL", typed_as)
    assert typed().options.gpus_per_trial == value


def test_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="--gpus-per-trial: expected auto or a number, got 'all'"):
        typed("--gpus-per-trial", "all")


def test_an_abbreviated_flag_is_refused() -> None:
    with pytest.raises(InputError, match="--tri"):
        typed("--tri", "3")


def test_the_environment_sets_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORRERY_TRIALS", "7")
    monkeypatch.setenv("ORRERY_SAMPLER", "random")
    monkeypatch.setenv("ORRERY_STORAGE", "")
    options = typed("--sampler", "gp").options
    assert (options.trials, options.sampler, options.storage) == (7, "gp", None)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SAMPLER", "best", "ORRERY_SAMPLER is best: expected one of tpe, random, gp, grid"),
        ("TRIALS", "many", "invalid int value: 'many'"),
    ],
)
def test_a_default_that_the_environment_sets_wrongly_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"ORRERY_{name}", value)
    with pytest.raises(InputError, match=said):
        typed()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_home_folders_are_meant_in_every_option_that_takes_a_path(home: Path) -> None:
    paths = [f"--{name}=~/{name}" for name in ("runs-dir", "data-dir", "storage")]
    line = typed(*paths, "--dataset", "~/m.parquet")
    assert line.options.runs_dir == home / "runs-dir"
    assert line.options.data_dir == home / "data-dir"
    assert line.options.storage == str(home / "storage")
    assert line.data.dataset == str(home / "m.parquet")
    drives = parse(
        ["--recordings=~/d.arrow"], "Why?", DrivingOptions, WorldModelConfig, "recordings"
    )
    assert drives.data.recordings == str(home / "d.arrow")


def test_home_folders_are_meant_in_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS_DIR", "DATA_DIR", "STORAGE"):
        monkeypatch.setenv(f"ORRERY_{name}", f"~/{name}")
    monkeypatch.setenv("ORRERY_DATASET", "~/m.parquet")
    line = typed()
    options = line.options
    assert (options.runs_dir, options.data_dir) == (home / "RUNS_DIR", home / "DATA_DIR")
    assert options.storage == str(home / "STORAGE")
    assert line.data.dataset == str(home / "m.parquet")


def test_what_is_no_path_stays_as_it_is(home: Path) -> None:
    line = typed("--storage", "s3://bucket/~", "--target", "~/mu", "--dataset", "x.parquet")
    assert (line.options.storage, line.data.target) == ("s3://bucket/~", "~/mu")
    assert line.data.dataset == "x.parquet"


def test_a_home_folder_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--runs-dir: ~nobody-here/x: there is no home folder"):
        typed("--runs-dir", "~nobody-here/x")
    monkeypatch.setenv("ORRERY_DATA_DIR", "~nobody-here/x")
    with pytest.raises(InputError, match="--data-dir: ~nobody-here/x: there is no home folder"):
        typed()


def test_bytes_that_are_no_text_are_refused() -> None:
    """As the name of a file may have them; neither MLflow nor a report can."""
    with pytest.raises(InputError, match=r"'caf\\udce9.parquet' is no text in UTF-8: rename"):
        typed("--dataset", "caf\udce9.parquet")
