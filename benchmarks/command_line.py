"""The command line that all benchmarks have: how it is read, and what is said to bad input."""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from analysis.command_line import exit_code as analysis_exit_code
from benchmarks.rounds import Disagreement
from datasets.errors import InputError
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_path


class Parser(ArgumentParser):
    """A command line whose mistakes are told in one line.

    Args:
        text: What ``--help`` says first, as it stands: the script's docstring.
    """

    def __init__(self, text: str | None) -> None:
        super().__init__(
            description=text, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise InputError(f"{message} (see --help)")

    def add_defaulting(
        self, flag: str, kind: Callable[[str], Any], default: Any, what: str = ""
    ) -> None:
        """Adds an option whose default its help names.

        Args:
            flag: Its name, with two dashes.
            kind: Makes a value of what was typed.
            default: Its value where nothing is typed.
            what: What it is, for ``--help``.
        """
        text = f"{what} (default: %(default)s)".strip()
        self.add_argument(flag, type=kind, default=default, help=text)

    def add_rounds(self, default: int, what: str) -> None:
        """Adds ``--rounds``: how often everything is measured."""
        self.add_defaulting("--rounds", positive, default, what)

    def add_numbers(self, flag: str, default: Sequence[int], what: str) -> None:
        """Adds an option that takes several whole numbers of at least 1."""
        known = " ".join(map(str, default))
        text = f"{what} (default: {known})"
        self.add_argument(flag, type=positive, nargs="+", default=default, metavar="N", help=text)

    def add_data_dir(self) -> None:
        """Adds ``--data-dir``."""
        what = "where generated and prepared data sets are kept"
        self.add_defaulting("--data-dir", typed_path, Path("data"), what)

    def add_device(self) -> None:
        """Adds ``--device``, a `torch.device`."""
        self.add_argument(
            "--device",
            type=device,
            default="auto",
            metavar="{auto,cpu,cuda}",
            help="auto: CUDA where there is one (default: auto)",
        )


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def at_least_two(text: str) -> int:
    """A whole number of at least 2, from the command line."""
    if not text.isdecimal() or int(text) < 2:
        raise ArgumentTypeError(f"expected a whole number of at least 2, got {text!r}")
    return int(text)


def not_negative(text: str) -> int:
    """A whole number of at least 0, from the command line."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds of at least 0, from the command line."""
    if not 0 <= (typed := _number(text)) < math.inf:
        raise ArgumentTypeError(f"expected a number of seconds of at least 0, got {text!r}")
    return typed


def positive_seconds(text: str) -> float:
    """A number of seconds above 0, from the command line."""
    if not 0 < (typed := _number(text)) < math.inf:
        raise ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return typed


def _number(text: str) -> float:
    """A number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def device(text: str) -> torch.device:
    """A device by its name, from the command line; ``auto`` is CUDA where there is one."""
    if text not in ("auto", "cpu", "cuda"):
        raise ArgumentTypeError(f"expected auto, cpu or cuda, got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise ArgumentTypeError("torch finds no CUDA here; leave the option out")
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(text)


def exit_code(main: Callable[[Sequence[str]], int | None]) -> int:
    """Runs a benchmark on what was typed.

    Returns:
        What the benchmark returns, or 0; 1 if its two sides disagree, 2 for bad input, 130 after
        Ctrl-C.
    """
    replace_what_cannot_be_shown()
    try:
        return analysis_exit_code(lambda: main(sys.argv[1:]) or 0)
    except Disagreement as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
