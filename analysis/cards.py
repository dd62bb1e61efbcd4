"""Result cards: the text, table and figures of one analysis, and how they are written to files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import command_line, style
from datasets.files import write_whole
from record.recorded_study import RecordedStudy

FOLDER = "report"
"""Artifact folder of an analysis' files in the study's MLflow run."""


UNSCORED = "the study's own command does that, at its end, while the checkpoint is there"
"""End of the messages about a trial that was not scored: how trials come to be scored."""


@dataclass(frozen=True)
class Card:
    """The result of one analysis.

    Attributes:
        title: One or two words that name the analysis.
        name: File name of text and table, without suffix.
        text: Markdown; empty if the figures need no text.
        table: The numbers at full precision; None if there is nothing to write to files.
        figures: File name without suffix -> a figure, or an animation as the bytes of a GIF.
        captions: Name of a figure -> a sentence that says what it shows.
    """

    title: str
    name: str
    text: str
    table: pd.DataFrame | None = None
    figures: Mapping[str, Figure | bytes] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)


def published(cards: Sequence[Card], study: RecordedStudy, folder: Path) -> str:
    """Writes cards into a folder and uploads them to the study's MLflow run.

    Args:
        cards: The cards to write.
        study: The study that they describe.
        folder: Folder for the files; created if it does not exist.

    Returns:
        The cards' texts, and the paths of the files.

    Raises:
        InputError: If the folder cannot be created.
    """
    told = []
    for card in cards:
        files = write(card, folder)
        study.artifacts.publish(None, files, FOLDER)
        told.append(card.text)
        told.append(f"{card.title}: {', '.join(map(str, files))}" if files else "")
    return "\n".join(filter(None, told))


def write(card: Card, folder: Path) -> list[Path]:
    """Writes the files of a card and returns their paths; a card without a table has none.

    Raises:
        InputError: If the folder cannot be created.
    """
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
"""An analysis of a study; raises InputError with the reason if it has no result."""


def main(description: str, make: Make, argv: Sequence[str] | None) -> int:
    """Runs an analysis from the command line; returns the exit code.

    Args:
        description: A sentence for ``--help`` that says what the analysis does.
        make: The analysis.
        argv: The arguments; None for those of this process.
    """
    line = command_line.parser(description)

    def analysed(study: RecordedStudy, report: Path) -> str:
        return published([make(study)], study, report)

    return command_line.answer(line, argv, analysed)
