"""Every benchmark of the pages is executed, in a short form, and prints what it promises."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import BENCHMARKS, executed
from places import SHARED_DATA

from benchmarks.breakdown import PARTS
from benchmarks.controller_throughput import SIDES


@dataclass(frozen=True)
class Short:
    """The short form of a benchmark.

    Attributes:
        arguments: What makes it short.
        check: Looks at what it printed.
    """

    arguments: tuple[str, ...]
    check: Callable[[str], None]


def has_a_ratio(printed: str) -> None:
    assert re.search(r"\bratio( to ours)?:? \d", printed)


def has_a_ratio_and_errors(printed: str) -> None:
    has_a_ratio(printed)
    errors = printed.partition("errors on the test episodes after 1 s of training each")[2]
    homework, ours = [cells for line in errors.splitlines() if len(cells := cells_of(line)) == 6][
        2:
    ]
    assert homework[0] == "the homework's loop" and ours[0].startswith("ours, ")
    assert all(float(cell) > 0 for cell in (*homework[1:], *ours[1:]))


def has_a_row_for_each_core(printed: str) -> None:
    rows = [cells for line in printed.splitlines() if len(cells := cells_of(line)) == 12]
    for name in ("torch.nn.LSTM", "LSTM from scratch", "transformer"):
        (row,) = (cells[1:] for cells in rows if cells[0] == name)
        assert all(float(cell.split()[0].replace(",", "")) > 0 for cell in row[:-1])


def has_a_row_for_each_configuration(printed: str) -> None:
    for name in ("gin", "best"):
        row = rf"^\| {name} +\|.+\| \d+ +\| 1 +\|( [\d.,]+ +\|){{4}}$"
        assert re.search(row, printed, re.MULTILINE)
        assert f"{name}, 1 thread(s): ratio " in printed


def accounts_for_both_sides(printed: str) -> None:
    rows = {
        cells[0]: cells[1:] for cells in map(cells_of, printed.splitlines()) if len(cells) == 4
    }
    assert rows["trials"][:2] == ["6", "6"]
    for side in (0, 1):
        assert 6 < int(rows["epochs"][side]) <= 12
        assert float(rows["training"][side]) > 0
        seconds = [float(rows[part][side]) for part in PARTS]
        assert all(each >= 0 for each in seconds)
        # They are printed to a tenth of a second.
        assert sum(seconds) == pytest.approx(float(rows["wall time"][side]), abs=0.5)
    assert "trials an hour: ratio " in printed
    assert "5 times would be " in printed


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def begins_and_ends(printed: str) -> None:
    assert re.search(r"a study of 12 recorded trials begins after \d+", printed)
    assert "ends with 0" in printed


def lost_nothing(printed: str) -> None:
    killed = re.findall(r"^\| \d \| (.+?) \| [1-9]", printed, re.MULTILINE)
    assert killed == ["driver", "a worker"]
    assert "\n0 violations in 2 runs" in printed


def compares_the_ways_on_the_same_epochs(printed: str) -> None:
    rows = [cells_of(line) for line in printed.splitlines() if line.startswith("| ")][2:]
    ways = ["plain Tune", "an epoch a message", "five epochs a message"]
    assert [row[0] for row in rows] == 2 * ways
    counts = [("3", "12")] * 3 + [("4", "16")] * 3
    assert [(row[1], row[2]) for row in rows] == counts
    for first, row in zip([*rows[:1] * 3, *rows[3:4] * 3], rows, strict=True):
        wall, cost, ratio, asking, memory = row[3:]
        assert float(wall) >= 0.8  # four epochs of 0.2 s
        assert float(cost) > 0
        assert float(ratio) == pytest.approx(float(cost) / float(first[4]), rel=0.05, abs=0.01)
        assert asking == "" if row[0] == "plain Tune" else float(asking) > 0
        assert 100 < float(memory.replace(",", "")) < 4000


def tells_what_asking_takes(printed: str) -> None:
    head, _, *rows = printed.splitlines()
    assert head == "| trials so far | asking Optuna, ms |"
    cells = [[float(cell) for cell in cells_of(row)] for row in rows]
    assert [number for number, _ in cells] == [*range(2, 21, 2)]
    assert all(milliseconds > 0 for _, milliseconds in cells)


def has_rows_for_one_trial_and_two(printed: str) -> None:
    loops = [cells[1] for line in printed.splitlines() if len(cells := cells_of(line)) == 4]
    ours = "this project's"
    assert loops[2:6] == [ours, f"{ours}, one by one", f"{ours}, lists of edges", "PyG's loop"]
    counts = [cells[1] for line in printed.splitlines() if len(cells := cells_of(line)) == 6]
    assert [count for count in counts if count.isdecimal()] == ["1", "2"] * 2


def compares_both_drawings(printed: str) -> None:
    rows = [cells for line in printed.splitlines() if len(cells := cells_of(line)) == 4]
    assert [cells[0] for cells in rows if not cells[0].startswith("-")] == [
        *("drawing", "arrays", "gymnasium"),
        *("episodes", "2", "3"),
    ]


def has_a_row_for_each_drawing(printed: str) -> None:
    rows = [cells for line in printed.splitlines() if len(cells := cells_of(line)) == 3]
    assert [cells[0] for cells in rows[2:]] == [*SIDES]
    assert all(float(cells[1].split()[0].replace(",", "")) > 0 for cells in rows[2:])


TOY = ("--molecules", "120", "--rounds", "1")

SHORT = {
    "recording_cost.py": Short(("--trials", "2", "--epochs", "2", "--rounds", "1"), has_a_ratio),
    "batching.py": Short(TOY, has_a_ratio),
    "training_step.py": Short(
        (*TOY, "--config", "gin", "best", "--threads", "1"), has_a_row_for_each_configuration
    ),
    "plain_study.py": Short((*TOY, "--trials", "6", "--epochs", "2"), accounts_for_both_sides),
    "driving_step.py": Short(
        ("--episodes", "20", "--steps", "40", "--rounds", "1", "--seconds", "1"),
        has_a_ratio_and_errors,
    ),
    "driving_cores.py": Short(
        ("--episodes", "20", "--steps", "40", "--rounds", "1", "--seconds", "1", "--seeds", "1"),
        has_a_row_for_each_core,
    ),
    "car_racing_drawing.py": Short(
        ("--steps", "20", "--rounds", "1", "--episodes", "2", "3"), compares_both_drawings
    ),
    "controller_throughput.py": Short(
        ("--steps", "12", "--cars", "2", "--rounds", "1", "--processes", "1"),
        has_a_row_for_each_drawing,
    ),
    "large_study.py": Short(("--trials", "12", "--rounds", "1"), begins_and_ends),
    "chaos.py": Short(("--runs", "2", "--seed", "1"), lost_nothing),
    "gpu.py": Short(
        (
            *(*TOY, "--device", "cpu", "--episodes", "20", "--config", "gcn", "builtin"),
            *("--max-concurrent", "1", "2"),
        ),
        has_rows_for_one_trial_and_two,
    ),
    "driver_cost.py": Short(
        (
            *("--trials", "3", "4", "--max-concurrent", "3"),
            *("--epochs", "4", "--epoch-seconds", "0.2"),
        ),
        compares_the_ways_on_the_same_epochs,
    ),
    "driver_cost.py --asking": Short(
        ("--asking", "20", "--max-concurrent", "4"), tells_what_asking_takes
    ),
}
"""Script, and what tells its command from others of it -> its short form, which overrules the
options that a page gives."""


COMMANDS = [
    pytest.param(command, marks=pytest.mark.alone) if "large_study.py" in command else command
    for command in BENCHMARKS
]
"""The one that fails where it takes long has the machine to itself."""


def short_of(command: str) -> Short:
    """The short form of a command."""
    script = Path(command.split()[1]).name
    return SHORT[f"{script} --asking" if "--asking" in command else script]


def on_data_that_are_there(command: str) -> str:
    """The command itself, or on generated molecules where the file that it names is missing."""
    there = (SHARED_DATA / "qm9.parquet").is_file()
    return command if there else re.sub(r" --dataset \.\./\S+", "", command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_benchmark_command_runs(command: str, tmp_path: Path) -> None:
    short = short_of(command)
    short.check(executed(on_data_that_are_there(command), tmp_path, *short.arguments))
