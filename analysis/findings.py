"""What an analysis found, as text, table and figures; and how that becomes files.

An analysis is a function of a recorded study (`Find`). It is given a way to open the study's data,
which it calls only for what is not recorded yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import command_line, style
from analysis.kinds import OpenData, kind_of
from datasets.files import write_whole
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy

FOLDER = "report"
"""Where an analysis' files are among the artifacts of the study's run."""


@dataclass(frozen=True)
class Findings:
    """What an analysis found.

    Attributes:
        title: What it is, in a word or two.
        name: Of the files of text and table, without suffix.
        text: As Markdown; empty: the figures say it all.
        table: All digits; None: there is nothing to tabulate.
        figures: Name of the file, without suffix, -> a figure, or an animation as a GIF.
    """

    title: str
    name: str
    text: str
    table: pd.DataFrame | None = None
    figures: Mapping[str, Figure | bytes] = field(default_factory=dict)


Find = Callable[[RecordedStudy, OpenData], Findings]
"""An analysis; raises InputError where it finds nothing, with the reason."""


def opener(study: RecordedStudy, data_dir: Path, where: str | None = None) -> OpenData:
    """What opens the data of a study, once.

    Args:
        study: The study.
        data_dir: Folder of prepared data.
        where: Where the data are on this machine; None: where they were for the study.
    """
    return cache(lambda: kind_of(study).open_data(study, data_dir, where))


def analyse(
    find: Find,
    folder: StudyFolder,
    uri: str,
    data_dir: Path,
    report: Path,
    where: str | None = None,
) -> str:
    """Analyses a study, writes what was found, and publishes it with the study's run.

    Args:
        find: The analysis.
        folder: Of the study.
        uri: MLflow's tracking URI.
        data_dir: Folder of prepared data.
        report: Folder for the files; made if it is not there.
        where: Where the data are on this machine, checked to be them; None: where they were for
            the study, if they are needed.

    Returns:
        The text, and where the files are.

    Raises:
        InputError: If there is no such study, nothing is found, or the data are needed and not
            there, or others.
    """
    study = recorded_study(folder, uri).in_mlflow()
    data = opener(study, data_dir, where)
    if where is not None:
        data()
    found = find(study, data)
    files = write(found, report)
    study.artifacts.publish(None, files, FOLDER)
    told = f"{found.title}: {', '.join(map(str, files))}" if files else ""
    return "\n".join(filter(None, (found.text, told)))


def write(found: Findings, folder: Path) -> list[Path]:
    """Writes what was found; returns the files, none if it is but a remark."""
    if found.table is None:
        return []
    command_line.make_folder(folder)
    files = []
    if found.text:
        files.append(folder / f"{found.name}.md")
        write_whole(files[-1], found.text.encode())
    files.append(folder / f"{found.name}.csv")
    write_whole(files[-1], found.table.to_csv(index=False).encode())
    for name, figure in found.figures.items():
        if isinstance(figure, Figure):
            files += style.save(figure, folder / name)
        else:
            files.append(folder / f"{name}.gif")
            write_whole(files[-1], figure)
    return files
