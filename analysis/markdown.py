"""Writes arbitrary text, code and tables as Markdown, with special characters escaped."""

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"[\\`*\[<~]|(?<!\w)_+|_++(?!\w)|&(?=[#\w]+;)|^[#>+-](?!\d)")
"""Matches characters that Markdown would interpret; a ``_`` inside a word, as in
``learning_rate``, is not matched."""


def escaped(text: str) -> str:
    """Returns a text as one line of Markdown that renders literally."""
    return SPECIAL.sub(lambda found: "".join(rf"\{c}" for c in found[0]), " ".join(text.split()))


def code(text: str) -> str:
    """Returns a text as one line of inline code."""
    fence = _fence(text, 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def block(text: str) -> str:
    """Returns lines of text as a fenced code block."""
    fence = _fence(text, 3)
    return f"{fence}\n{text}\n{fence}"


def _fence(text: str, shortest: int) -> str:
    """Returns backticks, at least `shortest`, longer than any run of them in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(shortest, longest + 1)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table with aligned columns.

    Cells are Markdown; ``|`` is escaped, and line breaks become spaces.
    """
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
