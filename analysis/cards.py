"""What an analysis found, as text, table and figures; and how that becomes files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import command_line, style
from datasets.files import write_whole
from record.recorded_study import RecordedStudy

FOLDER = "report"
"""Where an analysis' files are among the artifacts of the study's run."""


UNSCORED = "the study's own command does that, at its end, while the checkpoint is there"
"""What to do about a trial that has no outcomes."""


@dataclass(frozen=True)
class Card:
    """What an analysis found.

    Attributes:
        title: What it is, in a word or two.
        name: Name of the files of text and table, without suffix.
        text: Markdown; empty: the figures say it all.
        table: All digits; None: there is nothing to tabulate.
        figures: Name of the file, without suffix, -> a figure, or an animation as a GIF.
        captions: Name of a figure -> what it shows, as a sentence.
    """

    title: str
    name: str
    text: str
    table: pd.DataFrame | None = None
    figures: Mapping[str, Figure | bytes] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)


def published(cards: Sequence[Card], study: RecordedStudy, folder: Path) -> str:
    """Writes cards into a folder, and puts them beside the study's run in MLflow.

    Args:
        cards: To be written.
        study: Theirs.
        folder: For the files; made if it is not there.

    Returns:
        Their text, and where the files are.

    Raises:
        InputError: If the folder cannot be made.
    """
    told = []
    for card in cards:
        files = write(card, folder)
        study.artifacts.publish(None, files, FOLDER)
        told.append(card.text)
        told.append(f"{card.title}: {', '.join(map(str, files))}" if files else "")
    return "\n".join(filter(None, told))


def write(card: Card, folder: Path) -> list[Path]:
    """Writes the files of a card; returns them, none if it is but a remark."""
    if card.table is None:
        return []
    command_line.make_folder(folder)
    files = []
    if card.text:
        files.append(folder / f"{card.name}.md")
        write_whole(files[-1], card.text.encode())
    files.append(folder / f"{card.name}.csv")
    write_whole(files[-1], card.table.to_csv(index=False).encode())
    for name, figure in card.figures.items():
        if isinstance(figure, Figure):
            files += style.save(figure, folder / name)
        else:
            files.append(folder / f"{name}.gif")
            write_whole(files[-1], figure)
    return files


Make = Callable[[RecordedStudy], Card]
"""An analysis; raises InputError where it finds nothing, with the reason."""


def main(description: str, make: Make, argv: Sequence[str] | None) -> int:
    """The command line of an analysis; returns the exit code.

    Args:
        description: What it does, in a sentence.
        make: The analysis.
        argv: The arguments; None: those of this process.
    """
    line = command_line.parser(description)

    def analysed(study: RecordedStudy, report: Path) -> str:
        return published([make(study)], study, report)

    return command_line.answer(line, argv, analysed)
