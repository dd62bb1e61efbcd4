"""Two sides measured in turns, and what is printed of them: a median with its range.

A machine's speed wanders while a benchmark runs. The sides therefore take turns, a round each, and
a ratio is that of one round; its median stands for the rest.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from statistics import median

import torch


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
    """Ratios of our measurements to the others, round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float]) -> str:
    """``median (smallest..largest)`` in three digits."""
    if len(values) == 1:
        return _digits(values[0])
    return f"{_digits(median(values))} ({_digits(min(values))}..{_digits(max(values))})"


def _digits(value: float) -> str:
    """A number in three digits, or without decimals from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(what: str, ratio: float, wanted: float) -> str:
    """Says in one line whether a ratio is what the project asks of itself."""
    met = "met" if ratio >= wanted else "missed"
    return f"{what}: ratio {ratio:.2f}, at least {wanted:g} wanted: {met}"


def machine(device: torch.device) -> str:
    """The device by its name, and the software that matters."""
    import torch_geometric

    name = f"CPU ({_processor()})"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{name}, torch {torch.__version__}, torch-geometric {torch_geometric.__version__}"


def _processor() -> str:
    """What Linux calls the processor, or elsewhere the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = (line.split(":")[1].strip() for line in lines if "model name" in line)
            return next(chain(names, [platform.machine()]))
    except OSError:
        return platform.machine()
