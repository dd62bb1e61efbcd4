"""What each part of a world model with both aims is worth, after equal processor time.

    python benchmarks/driving_ablations.py

Changes to the default configuration, listed in docs/results/driving-changes.json, are trained on
one thread for as many epochs as fit into the given processor time, evaluations left out, and
judged on the validation episodes. Rows are added to a file as they are made, and what it has
already is not trained again, so that the same command goes on after an interruption; other drives,
another time or another default need another `--file`. A change takes about three minutes;
`--part 1/2` trains every second one, beside another process with `--part 2/2`. The table is made
of the file:

    python benchmarks/driving_ablations.py --show
"""

import csv
import json
import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.document import spread
from benchmarks.driving_cores import CPU, timed_fit
from benchmarks.result_table import read_rows
from datasets.driving import Drives, DrivingOptions, open_drives
from datasets.errors import InputError
from trainables.device import pick_device
from trainables.driving import DrivingTask
from trainables.models.world_model import WorldModelConfig

CHANGES = Path(__file__).parents[1] / "docs/results/driving-changes.json"

ROWS = CHANGES.with_name("driving-changes.csv")

TIMED = 2
"""Number of epochs of the training by which the duration of an epoch is measured."""


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        change: What differs from the default configuration, as JSON.
        config: The whole configuration, as JSON.
        data: Digest of the drives.
        asked: Processor time that was asked for, in seconds.
        seed: Seed of the training.
        epochs: Number of epochs.
        seconds: Processor time of the training, in seconds.
        one_step: Error of the teacher-forced rollout, as a share of persistence.
        dream: Error of the free-running rollout, as a share of the better of freeze and
            climatology.
        below: Share of the horizons at which the free-running rollout is below both.
    """

    change: str
    config: str
    data: str
    asked: int
    seed: int
    epochs: int
    seconds: float
    one_step: float
    dream: float
    below: float

    @property
    def skill(self) -> float:
        """Objective of the study, mean of the two skills."""
        return 1 - (self.one_step + self.dream) / 2


def measured(data: Drives, base: WorldModelConfig, change: Mapping[str, Any], seconds: int) -> Row:
    """Trains a change to a configuration for about so many seconds of the processor."""
    timed = replace(base, **change, epochs=TIMED)
    took, _ = timed_fit(data, timed)
    config = replace(timed, epochs=max(1, round(TIMED * seconds / took)))
    took, last = timed_fit(data, config)
    with torch.no_grad():
        found = DrivingTask(data, config, CPU).evaluate(last.model)
    return Row(
        change=json.dumps(change),
        config=written(config),
        data=data.digest,
        asked=seconds,
        seed=config.seed,
        epochs=config.epochs,
        seconds=round(took, 1),
        one_step=round(found["validation/persistence_ratio"], 4),
        dream=round(1 - found["validation/dream_skill"], 4),
        below=round(found["validation/horizons_below_baselines"], 4),
    )


def written(config: WorldModelConfig) -> str:
    """Writes a configuration as JSON."""
    return json.dumps(asdict(config), sort_keys=True)


def read(path: Path) -> list[Row]:
    """Reads the rows of a file; none if there is no such file.

    Raises:
        InputError: If it is not a file of such rows.
    """
    return read_rows(Row, path) if path.exists() else []


def changes(path: Path) -> list[dict[str, Any]]:
    """Reads the changes of a JSON file.

    Raises:
        InputError: If it is not a list of changes to the default configuration.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        for change in listed:
            replace(WorldModelConfig(), **change)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected a JSON list of changes to a world model: {error}"
        ) from None
    return listed


def check_same(path: Path, rows: Sequence[Row], data: Drives, seconds: int) -> None:
    """Checks that rows are of the default configuration, drives and time of now.

    Raises:
        InputError: If one is not.
    """
    for row in rows:
        own = {"seed": row.seed, "epochs": row.epochs}
        config = replace(WorldModelConfig(), **json.loads(row.change), **own)
        if (row.config, row.data, row.asked) != (written(config), data.digest, seconds):
            raise InputError(
                f"{path} has rows of another default configuration, other drives or another time: "
                "choose another --file, or remove it"
            )


def missing(listed: Sequence[Mapping[str, Any]], seeds: int, rows: Sequence[Row]) -> Iterator[Any]:
    """Yields the changes and seeds that have no row yet, seed by seed."""
    known = {(row.change, row.seed) for row in rows}
    for seed in range(1, seeds + 1):
        yield from ((each, seed) for each in listed if (json.dumps(each), seed) not in known)


def shown(rows: Sequence[Row]) -> str:
    """Makes the table of the changes, the best first; of several seeds mean and deviation."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.change, []).append(row)
    ordered = sorted(groups.values(), key=lambda group: -mean(row.skill for row in group))
    header = [
        "change",
        "epochs",
        "one-step, of persistence",
        "free-running, of the better baseline",
    ]
    header += ["horizons below both, %", "mean of both skills"]
    return table(header, [_cells(group) for group in ordered])


def _cells(group: Sequence[Row]) -> list[str]:
    change = json.loads(group[0].change)
    return [
        ", ".join(f"{name} {value}" for name, value in change.items()) or "the default",
        spread([row.epochs for row in group], 0),
        spread([row.one_step for row in group], 3),
        spread([row.dream for row in group], 3),
        spread([100 * row.below for row in group], 0),
        spread([row.skill for row in group], 3),
    ]


def main(argv: Sequence[str]) -> None:
    """Trains what is missing and prints the table.

    Raises:
        InputError: If the options make no sense.
    """
    typed = _parsed(argv)
    listed = changes(typed.changes)
    if not typed.show:
        pick_device(0, 1)
        data = open_drives(typed.drives, 0, typed.data_dir)
        check_same(typed.file, read(typed.file), data, typed.seconds)
        part, parts = typed.part
        todo = [*missing(listed[part - 1 :: parts], typed.seeds, read(typed.file))]
        for place, (change, seed) in enumerate(todo, start=1):
            row = measured(data, WorldModelConfig(seed=seed), change, typed.seconds)
            _append(typed.file, row)
            print(f"{place} of {len(todo)}: {row}", file=sys.stderr, flush=True)
    print(shown(read(typed.file)))


def _append(path: Path, row: Row) -> None:
    """Adds a row to a file, which gets a head if it is new."""
    head = "" if path.exists() else ",".join(field.name for field in fields(Row)) + "\n"
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(head)
        csv.writer(file, lineterminator="\n").writerow(asdict(row).values())


def _part(text: str) -> tuple[int, int]:
    """Reads which part of how many, such as 1/2."""
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise ArgumentTypeError(f"{text}: expected a part of several, such as 1/2")
    return int(found[1]), int(found[2])


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_data_dir()
    parser.add_defaulting("--seconds", positive, 100, "processor time of each training")
    parser.add_defaulting("--seeds", positive, 1, "trainings of each change")
    parser.add_argument("--changes", type=Path, default=CHANGES, help="JSON file of the changes")
    parser.add_argument("--part", type=_part, default=(1, 1), help="of the changes, such as 1/2")
    parser.add_argument("--file", type=Path, default=ROWS, help="CSV file of the rows")
    default = DrivingOptions()
    parser.add_defaulting("--episodes", positive, default.episodes, "drives")
    parser.add_argument("--split", help=f"of the drives (default: {default.split_method})")
    parser.add_argument("--show", action="store_true", help="print the table, train nothing")
    typed = parser.parse_args(argv)
    typed.drives = DrivingOptions(episodes=typed.episodes, split=typed.split)
    return typed


if __name__ == "__main__":
    sys.exit(exit_code(main))
