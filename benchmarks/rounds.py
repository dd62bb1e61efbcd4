"""Two sides measured in turns, and what is printed of them: a median with its range.

A machine's speed wanders while a benchmark runs. The sides therefore take turns, a round each, and
a ratio is that of one round; its median stands for the rest.
"""

import platform
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from statistics import median
from typing import NoReturn

import torch

from datasets.errors import InputError
from datasets.terminal import replace_what_cannot_be_shown


class Disagreement(Exception):
    """The two sides do not do the same: nothing is timed."""


def take_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measures every side once a round, in turn and in alternating order.

    Args:
        sides: Name -> takes one measurement, such as a rate.
        rounds: How many are kept; one before them warms up and is thrown away.

    Returns:
        Name -> one measurement a round.
    """
    kept: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for name in order:
            measured = sides[name]()
            if number > 0:
                kept[name].append(measured)
    return kept


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float]) -> str:
    """``median (smallest..largest)`` in three digits."""
    if len(values) == 1:
        return _digits(values[0])
    return f"{_digits(median(values))} ({_digits(min(values))}..{_digits(max(values))})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(what: str, ratio: float, wanted: float) -> str:
    """Whether a ratio is what the project asks of itself, in one line."""
    met = "met" if ratio >= wanted else "missed"
    return f"{what}: ratio {ratio:.2f}, at least {wanted:g} wanted: {met}"


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


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def not_negative(text: str) -> int:
    """A whole number of at least 0, from the command line."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def exit_code(main: Callable[[Sequence[str]], None]) -> int:
    """Runs a benchmark on what was typed: 0, 1 if the sides disagree, 2 for bad input."""
    replace_what_cannot_be_shown()
    try:
        main(sys.argv[1:])
    except (InputError, Disagreement) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def pick_device(name: str) -> torch.device:
    """``auto``: CUDA where there is one.

    Raises:
        InputError: If CUDA is asked for where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds none here; leave the option out")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def machine(device: torch.device) -> str:
    """The device by its name, and the software that matters."""
    import torch_geometric

    name = f"CPU ({_processor()})"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{name}, torch {torch.__version__}, torch-geometric {torch_geometric.__version__}"


def _processor() -> str:
    """What Linux says of the processor, else the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = (line.split(":")[1].strip() for line in lines if "model name" in line)
            return next(chain(names, [platform.machine()]))
    except OSError:
        return platform.machine()
