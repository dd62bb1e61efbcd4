"""Text that is not ours, and tables of it, as Markdown."""

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"[\\`*\[<~]|(?<!\w)_+|_++(?!\w)|&(?=[#\w]+;)|^[#>+-](?!\d)")
"""What Markdown would take for more than it is: in ``learning_rate`` nothing."""


def escaped(text: str) -> str:
    """Text on one line, as Markdown that shows it as it is."""
    return SPECIAL.sub(lambda found: "".join(rf"\{c}" for c in found[0]), " ".join(text.split()))


def code(text: str) -> str:
    """Text on one line as code."""
    fence = _fence(text, 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def block(text: str) -> str:
    """Lines of text as a block of code."""
    fence = _fence(text, 3)
    return f"{fence}\n{text}\n{fence}"


def _fence(text: str, shortest: int) -> str:
    """More backticks than the text has in a row."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(shortest, longest + 1)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns aligned; a cell is Markdown, and may hold ``|`` and line breaks."""
    lines = [[_cell(text) for text in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        _joined([cell.ljust(width) for cell, width in zip(line, widths, strict=True)])
        for line in lines
    )


def row(cells: Sequence[str]) -> str:
    """A row of a table by itself, its columns not aligned."""
    return _joined(list(map(_cell, cells)))


def _joined(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.splitlines()).replace("|", r"\|")
