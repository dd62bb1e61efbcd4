"""Predicts with the champion of a study, and reports the spread over its training seeds.

    python analysis/predict.py NAME --smiles "CCO" "CC(=O)N"
    python analysis/predict.py NAME --molecules FILE.parquet --output FILE.csv
    python analysis/predict.py DRIVES --recordings FILE.arrow --episode 3

For a study of molecules it prints the predicted target of each with its spread, and writes the
predictions to --output. The geometry of a SMILES is computed as those of the generated molecules
are; a table of molecules (schema: datasets/molecules.py, no targets needed) brings its own. For a
study of drives it rolls an episode out from its first frames with the recorded actions, prints
error against horizon, and writes dream.csv and dream.gif into runs/NAME/report or the folder
--output. A study without finals predicts with its best trial, and the output says so.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis import command_line
from analysis.champion import champion_of
from datasets.errors import InputError
from datasets.typed_paths import typed_path
from record.recorded_study import RecordedStudy

TABLES = (".csv", ".parquet")
"""File suffixes that --output accepts for molecules."""


def analyse(typed: argparse.Namespace, tracking_uri: str) -> str:
    """Predicts the molecules or the drive that the command line names.

    Args:
        typed: The parsed command line, see `main`.
        tracking_uri: MLflow's tracking URI.

    Returns:
        A Markdown table, its explanation, and the paths of the files.

    Raises:
        InputError: If there is no such study, it has no champion and no finished trial, the
            options do not fit the kind of study, or the given data cannot be predicted.
        OSError: If a file cannot be written.
    """
    study = command_line.named_study(typed, tracking_uri)
    unit = study.scorecard.unit
    if unit == "molecules":
        return _molecules(typed, study)
    if unit == "episodes":
        return _drives(typed, study, command_line.folder_of(typed).report)
    raise InputError(f"{study.name} is neither of molecules nor of drives: nothing is predicted")


def _molecules(typed: argparse.Namespace, study: RecordedStudy) -> str:
    _refuse(typed, ("recordings", "episode"), f"{study.name} is a study of molecules")
    if (typed.smiles is None) == (typed.molecules is None):
        raise InputError(f"{study.name} predicts molecules: give either --smiles or --molecules")
    if typed.output is not None and typed.output.suffix not in TABLES:
        raise InputError(f"unknown --output {typed.output}: expected FILE.csv or FILE.parquet")
    # Imported here: a study of drives does not need these imports.
    from analysis import predict_molecules

    champion = champion_of(study)
    if typed.smiles is not None:
        found = predict_molecules.of_smiles(study, champion, typed.smiles)
    else:
        found = predict_molecules.of_file(study, champion, typed.molecules)
    said = [predict_molecules.markdown(found, study, champion)]
    if typed.smiles is not None:
        said.append(predict_molecules.geometry(study))
    if found.left_out:
        said.append(predict_molecules.left_out(found))
    if typed.output is not None:
        predict_molecules.write(found, study, champion, typed.output)
        said.append(f"\npredictions: {typed.output}")
    return "\n".join(said)


def _drives(typed: argparse.Namespace, study: RecordedStudy, report: Path) -> str:
    _refuse(typed, ("smiles", "molecules"), f"{study.name} is a study of drives")
    folder: Path = typed.output or report
    if folder.suffix in TABLES:
        raise InputError(f"--output {folder}: expected a folder, as {study.name} is of drives")
    from analysis import predict_drives

    champion = champion_of(study)
    episode = typed.episode or 0
    if typed.recordings is not None:
        drive = predict_drives.of_file(study, typed.recordings, episode)
    else:
        drive = predict_drives.of_study(study, typed.data_dir, typed.data, episode)
    found = predict_drives.dream(champion, drive)
    command_line.make_folder(folder)
    files = predict_drives.write(found, drive, champion, folder)
    text = predict_drives.markdown(found, drive, study, champion)
    return f"{text}\nrollouts: {', '.join(map(str, files))}"


def _refuse(typed: argparse.Namespace, options: Sequence[str], because: str) -> None:
    """Rejects options that are for another kind of study.

    Raises:
        InputError: If one of them is given.
    """
    given = [f"--{option}" for option in options if getattr(typed, option) is not None]
    if given:
        raise InputError(f"{because}: {' and '.join(given)} cannot be used with it")


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts with a study's champion from the command line; returns the exit code."""
    line = command_line.parser("Predicts with the champion of a study.")
    line.add_argument(
        "--smiles", nargs="+", metavar="SMILES", help="molecules, for a study of molecules"
    )
    line.add_argument(
        "--molecules",
        type=typed_path,
        metavar="FILE.parquet",
        help="a table of molecules (schema: datasets/molecules.py; no targets needed)",
    )
    line.add_argument(
        "--recordings",
        type=typed_path,
        metavar="FILE",
        help="recorded drives, .arrow or .pkl, for a study of drives (default: its test episodes)",
    )
    line.add_argument(
        "--episode", type=int, metavar="N", help="which of the drives, from 0 (default: 0)"
    )
    line.add_argument(
        "--output",
        type=typed_path,
        metavar="PATH",
        help="FILE.csv or FILE.parquet for molecules (default: none is written); a folder for "
        "drives (default: that of the report)",
    )
    command_line.add_data_dir(line)
    command_line.add_data(line)
    return command_line.answered(line, argv, analyse)


if __name__ == "__main__":
    code = main()
    gc.freeze()  # else garbage collection at exit walks all imported modules, for a second
    sys.exit(code)
