"""What a study found, as one web page and as Markdown, from what is recorded of it alone.

    python analysis/report.py NAME
    python analysis/report.py NAME OTHER ...

writes runs/NAME/report/report.html, which needs nothing beside it, and report.md with figures/.
With several names the studies are set side by side, see analysis/side_by_side.py.

Nothing is scored here: the test split was, by the analyses at the end of the study, and their
predictions are read.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
from matplotlib.figure import Figure

from analysis import (
    command_line,
    finals,
    loss_curves,
    r2_table,
    rollouts,
    style,
    web_page,
)
from analysis.answer import answer, question
from analysis.curves import training_seconds
from analysis.finals import Outcome
from analysis.findings import FOLDER, Find
from analysis.markdown import block, code, escaped
from analysis.published import beside
from analysis.search_report import Chapter, search, use
from analysis.side_by_side import Side, compared
from datasets.errors import InputError
from datasets.files import write_whole
from record import names
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.trial import Placement, Trial

CAPTIONS = {
    "finals": "Each finalist: what the search promised on the validation split, what each fresh "
    "seed gave there, and on the test split.",
    "predicted_against_true": "Predicted against true on the test split, the best trial of each "
    "family; on the line the prediction is right.",
    "loss_curves": "Mean squared error over the epochs, of the best trial and of the baseline.",
    "error_against_horizon": "Error against horizon on the test episodes: fed with the true frame "
    "before (teacher-forced), and with its own predictions (autoregressive).",
    "film_strip": "The first test episode: the truth and what the models dream, every frame "
    "under its horizon.",
    "rollouts": "The same, played.",
}

SCORES = {
    "molecules": ("The test split, by family", r2_table.find),
    "drives": ("Rollouts of the test episodes", rollouts.find),
}
"""What the winner of the search is set beside, by what the study learned from."""

TOOLS = {names.VERSION + name: name for name in ("ray", "optuna")}
"""Tags of the versions that the study itself ran with."""


@dataclass
class Report(Chapter):
    """A report that is being written: chapters one after the other.

    Attributes:
        answer: What it comes to, as Markdown.
    """

    answer: str = field(kw_only=True)

    def head(self, title: str) -> None:
        """Begins a section."""
        self.add(f"## {title}")

    def join(self, chapter: Chapter) -> None:
        """Takes a chapter up."""
        self.text += chapter.text
        self.figures |= chapter.figures

    def found(self, find: Find, study: RecordedStudy) -> None:
        """Takes up what an analysis found, or why it found nothing."""
        try:
            findings = find(study, _unscored)
        except InputError as error:
            self.add(f"Not there: {escaped(str(error))}.")
            return
        if findings.text:
            self.add(findings.text)
        for name, figure in findings.figures.items():
            self.show(name, figure, CAPTIONS[name])


def _unscored() -> Any:
    raise InputError(
        "the test split has not been scored yet; the study's own command does it at its end"
    )


def write(study: RecordedStudy) -> Report:
    """Writes the report of a study.

    Args:
        study: The study.
    """
    outcome, reason = scored(study)
    winner = outcome.champion.trial if outcome else study.best(study.trials)
    report = Report(answer=answer(study, outcome, reason))
    report.add(f"# {escaped(study.name)}")
    report.add(question(study))
    report.add(f"> {report.answer}")
    report.head("The finalists")
    if outcome is None:
        report.add(f"Not there: {reason}.")
    else:
        report.found(lambda *_: finals.findings_of(outcome, study), study)
    _scores(report, study)
    report.head("Loss curves")
    report.found(loss_curves.find, study)
    report.head("The search")
    report.join(search(study, winner))
    report.head("Time and devices")
    report.add(use(study))
    report.head("Do it again")
    report.add(_again(study, winner))
    return report


def scored(study: RecordedStudy) -> tuple[Outcome | None, str]:
    """What the finals of a study say; or None, and as Markdown why they say nothing."""
    if not study.finals:
        return None, finals.NONE
    try:
        outcome = finals.outcome(study, _unscored)
    except InputError as error:
        return None, escaped(str(error))
    return outcome, "" if outcome else "none of them finished, or no weights of them were kept"


def description(folder: StudyFolder, tracking_uri: str) -> str:
    """What the study's run opens on in MLflow: question, answer, finalists.

    Raises:
        InputError: If there is no such study.
    """
    study = recorded_study(folder, tracking_uri).in_mlflow()
    outcome, reason = scored(study)
    table = finals.markdown(outcome, study) if outcome else ""
    return f"{question(study)}\n\n{answer(study, outcome, reason)}\n\n{table}".strip()


def _scores(report: Report, study: RecordedStudy) -> None:
    if study.kind in SCORES:
        title, find = SCORES[study.kind]
        report.head(title)
        report.found(find, study)
    if (published := beside(study)) is not None:
        report.add("### Published figures")
        report.add(published.markdown())


def _again(study: RecordedStudy, winner: Trial | None) -> str:
    """Everything that is needed to do a study again."""
    tags = study.tags
    data = ", ".join(f"{name} {value}" for name, value in _data(study.params).items())
    told = {
        "commit": _commits(study.trained_with(lambda placement: placement.commit)),
        "data": escaped(data),
        "digest of the data": code(study.params[names.DIGEST]),
        "versions": escaped(_versions(study)),
        "seed of the study": str(study.params[names.SEED]),
        "seeds of the finals": _seeds(study) or "no finals",
        "sampler": study.params.get(names.SAMPLER, "not recorded"),
        "scheduler": tags.get(names.SCHEDULER, "not recorded"),
        "machine": escaped(tags.get(names.HOST, "not recorded")),
        "run in MLflow": code(study.artifacts.run_id(None)),
    }
    command = f"{tags.get(names.ENVIRONMENT, '')} {tags.get(names.COMMAND, 'not recorded')}"
    lines = "\n".join(f"- {name}: {value}" for name, value in told.items())
    configuration = ""
    if winner is not None:
        values = json.dumps(winner.config, indent=1).replace('"', "")
        replay = f"python studies/replay.py {study.name}/{winner.number}"
        configuration = (
            f"\n\n{code(replay)} trains trial {winner.number} again and compares every number. "
            f"Its configuration:\n\n{block(values)}"
        )
    return f"{block(command.strip())}\n\n{lines}{configuration}"


def _seeds(study: RecordedStudy) -> str:
    """Those of the finals."""
    return ", ".join(map(str, sorted({final.config["seed"] for final in study.finals})))


def _data(params: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name the data, and in place of those of the same name what was found."""
    return {
        name.removeprefix(prefix): value
        for prefix in (names.OPTIONS, names.FACTS)
        for name, value in params.items()
        if name.startswith(prefix) and name != names.DIGEST
    }


def _versions(study: RecordedStudy) -> str:
    """Those with which the trials were trained, one after the other, and the study's own."""
    told = study.trained_with(_packages)
    own = [f"{name} {study.tags[tag]}" for tag, name in TOOLS.items() if tag in study.tags]
    return ", ".join(filter(None, [", then ".join(told), *own])) or "not recorded"


def _packages(placement: Placement) -> str:
    return ", ".join(f"{package} {version}" for package, version in placement.versions.items())


def _commits(commits: Sequence[str]) -> str:
    """Those of the code that trained the trials, one after the other."""
    told = []
    for commit in commits:
        changed = " (and changes that were not committed)" if commit.endswith("+") else ""
        told.append(f"{code(commit.removesuffix('+'))}{changed}")
    return ", then ".join(told) or "not recorded"


def save(report: Chapter, title: str, folder: Path) -> list[Path]:
    """Writes a report's files; returns the page, then the Markdown, then the figures.

    Raises:
        InputError: If the folder cannot be made.
    """
    pictures = folder / "figures"
    command_line.make_folder(pictures)
    page, text = folder / "report.html", folder / "report.md"
    write_whole(page, web_page.page(title, report.text, report.figures).encode())
    write_whole(text, report.text.encode())
    files = []
    for name, figure in report.figures.items():
        if isinstance(figure, Figure):
            files.append(style.picture(figure, pictures / name))
        else:
            files.append(pictures / f"{name}.gif")
            write_whole(files[-1], figure)
    return [page, text, *files]


def beside_each_other(folders: Sequence[StudyFolder], tracking_uri: str, report: Path) -> str:
    """Writes several studies' report, into the folder of the first.

    Args:
        folders: Theirs.
        tracking_uri: MLflow's.
        report: Folder for the files; made if it is not there.

    Returns:
        Where the report is.

    Raises:
        InputError: If there is no such study, or they do not measure the same quantity.
    """
    called = [folder.name for folder in folders]
    if len(set(called)) < len(called):
        raise InputError(f"{' '.join(called)}: expected different studies to set side by side")
    known = [recorded_study(folder, tracking_uri).in_mlflow() for folder in folders]
    told = compared([_side(study) for study in known])
    beside = f"beside-{'-'.join(called[1:])}"
    page, text, *_ = save(told, " beside ".join(called), report / beside)
    return f"{told.text}\nreport: {page}, {text}"


def _side(study: RecordedStudy) -> Side:
    hours = sum(map(training_seconds, study.every)) / 3600
    return Side(study, *scored(study), hours)


def analyse(folder: StudyFolder, tracking_uri: str, data_dir: Path, report: Path) -> str:
    """Writes the report of a study, and publishes it with its run.

    Args:
        folder: Of the study.
        tracking_uri: MLflow's.
        data_dir: Not needed: all that is told is recorded.
        report: Folder for the files; made if it is not there.

    Returns:
        The answer, and where the report is.

    Raises:
        InputError: If there is no such study.
    """
    del data_dir
    study = recorded_study(folder, tracking_uri).in_mlflow()
    written = write(study)
    page, text, *figures = save(written, study.name, report)
    study.artifacts.publish(None, [page, text], FOLDER)
    study.artifacts.publish(None, figures, f"{FOLDER}/figures")
    return f"{written.answer}\n\nreport: {page}, {text}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    line = command_line.parser("Writes the report of a study, or sets several side by side.")
    line.add_argument("others", metavar="OTHER", nargs="*", help="studies to set beside it")

    def written(typed: Namespace, uri: str, report: Path) -> str:
        folders = [StudyFolder(typed.runs_dir, name) for name in (typed.study, *typed.others)]
        if typed.others:
            return beside_each_other(folders, uri, report)
        return analyse(folders[0], uri, Path(), report)

    return command_line.answer(line, argv, written)


if __name__ == "__main__":
    sys.exit(main())
