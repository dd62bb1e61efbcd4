"""A table whose rows are printed one by one, where each of them takes its time."""

from collections.abc import Sequence

from analysis.markdown import row


class GrowingTable:
    """A Markdown table, of which the header is printed at once.

    Args:
        header: Titles of the columns.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self.add(header)
        self.add(["---"] * len(header))

    def add(self, cells: Sequence[str]) -> None:
        """Prints a row."""
        print(row(cells), flush=True)
