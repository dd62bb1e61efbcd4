"""Writes the report of a study, as one web page and as Markdown, from its record alone.

    python analysis/report.py NAME
    python analysis/report.py NAME OTHER ...

writes runs/NAME/report/report.html, a self-contained page, and report.md with figures/. With
several names the studies are compared side by side, see analysis/side_by_side.py.

A report does not score anything: the study scored the test split at its end, and the report reads
the recorded outcomes.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
from matplotlib.figure import Figure

from analysis import command_line, finals, loss_curves, style, web_page
from analysis.answer import answer, question
from analysis.cards import FOLDER, Card
from analysis.curves import training_seconds
from analysis.finals import Outcome
from analysis.markdown import block, code, escaped
from analysis.scorecard import Scorecard
from analysis.search_report import Chapter, search, use
from analysis.side_by_side import Side, compared
from datasets.errors import InputError
from datasets.files import write_whole
from record import names
from record.own_commands import own_command
from record.recorded_study import RecordedStudy
from record.trial import Placement, Trial

TOOLS = {names.VERSION + name: name for name in ("ray", "optuna")}
"""Tag -> name of each package whose version the study records for itself, not for its trials."""


@dataclass(frozen=True)
class Section:
    """A section of the report: the results of one analysis.

    Attributes:
        heading: Title of the section.
        cards: The results.
        missing: Why there are no results; empty if there are.
    """

    heading: str
    cards: Sequence[Card] = ()
    missing: str = ""


@dataclass
class Report(Chapter):
    """A report under construction, to which sections and chapters are appended.

    Attributes:
        answer: The study's answer, as Markdown.
    """

    answer: str = field(kw_only=True)

    def head(self, title: str) -> None:
        """Appends the heading of a section."""
        self.add(f"## {title}")

    def join(self, chapter: Chapter) -> None:
        """Appends the text and figures of a chapter."""
        self.text += chapter.text
        self.figures |= chapter.figures

    def section(self, section: Section) -> None:
        """Appends a section: the results of an analysis, or why there are none."""
        self.head(section.heading)
        if section.missing:
            self.add(f"Not there: {escaped(section.missing)}.")
        for card in section.cards:
            if card.text:
                self.add(card.text)
            for name, figure in card.figures.items():
                self.show(name, figure, card.captions[name])


@dataclass(frozen=True)
class Analysed:
    """All results of a study, computed once for the report, the files and MLflow.

    Attributes:
        study: The study.
        outcome: The result of its finals; None if there is none.
        finals: The section on the finalists.
        own: The section with the cards of the study's scorecard.
        learning: The section with the learning curves.
    """

    study: RecordedStudy
    outcome: Outcome | None
    finals: Section
    own: Section
    learning: Section

    @property
    def cards(self) -> Sequence[Card]:
        """The cards of all sections, in the order in which they are printed."""
        return (*self.learning.cards, *self.own.cards, *self.finals.cards)

    @property
    def missing(self) -> Sequence[str]:
        """The reasons of the sections that have no results."""
        sections = (self.learning, self.own, self.finals)
        return tuple(section.missing for section in sections if section.missing)

    @property
    def answer(self) -> str:
        """The study's answer, as Markdown."""
        return answer(self.study, self.outcome, escaped(self.finals.missing))

    def description(self) -> str:
        """Returns the description of the study's MLflow run, as Markdown."""
        return description(self.study, self.outcome, self.finals.missing)


def description(study: RecordedStudy, outcome: Outcome | None, reason: str) -> str:
    """Returns the description of a study's MLflow run: question, answer and table of finalists, as
    Markdown.

    Args:
        study: The study.
        outcome: The result of its finals, from `scored`; None if there is none.
        reason: Why there is no outcome, from `scored`.
    """
    table = finals.markdown(outcome, study) if outcome else ""
    if not table and study.finalists and study.definition.scorecard is None:
        table = finals.of_validation(study)
    return f"{question(study)}\n\n{answer(study, outcome, escaped(reason))}\n\n{table}".strip()


def analysed(study: RecordedStudy) -> Analysed:
    """Runs all analyses of a study.

    Raises:
        InputError: If the study's definition cannot be found.
    """
    scorecard = study.definition.scorecard
    outcome, reason = scored(study)
    cards = (finals.card_of(outcome, study),) if outcome else ()
    if scorecard is None and study.finalists:
        cards = (Card("finals", "finals", finals.of_validation(study)),)
    return Analysed(
        study,
        outcome,
        finals=Section("The finalists", cards, reason),
        own=_own(study, scorecard),
        learning=_section("Loss curves", lambda: (loss_curves.make(study),)),
    )


def _own(study: RecordedStudy, scorecard: Scorecard | None) -> Section:
    if scorecard is None:
        return Section("")
    return _section(scorecard.heading, lambda: tuple(scorecard.cards(study)))


def _section(heading: str, make: Callable[[], Sequence[Card]]) -> Section:
    try:
        return Section(heading, make())
    except InputError as error:
        return Section(heading, missing=str(error))


def write(found: Analysed) -> Report:
    """Composes the report of a study, without writing files."""
    study, outcome = found.study, found.outcome
    winner = outcome.champion.trial if outcome else study.champion or study.best(study.trials)
    report = Report(answer=found.answer)
    report.add(f"# {escaped(study.name)}")
    report.add(question(study))
    report.add(f"> {report.answer}")
    report.section(found.finals)
    if found.own.cards or found.own.missing:
        report.section(found.own)
    scorecard = study.definition.scorecard
    if scorecard is not None and (published := scorecard.published(study)):
        report.add("### Published figures")
        report.add(published)
    report.section(found.learning)
    report.head("The search")
    report.join(search(study, winner))
    report.head("Time and devices")
    report.add(use(study))
    report.head("Do it again")
    report.add(_again(study, winner))
    return report


def scored(study: RecordedStudy) -> tuple[Outcome | None, str]:
    """Returns the result of a study's finals and an empty string, or None and the reason why there
    is no result."""
    if not study.finals:
        return None, finals.NONE
    try:
        outcome = finals.outcome(study)
        if outcome is None and study.definition.scorecard is None:
            return None, "without a scorecard nothing is scored on a test split"
    except InputError as error:
        return None, str(error)
    return outcome, "" if outcome else "none of them finished, or none was scored"


def _again(study: RecordedStudy, winner: Trial | None) -> str:
    """Lists what is needed to repeat a study: command, commit, data, versions, seeds and the
    winner's configuration."""
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
        replay = f"{own_command('studies.replay')} {study.name}/{winner.number}"
        configuration = (
            f"\n\n{code(replay)} trains trial {winner.number} again and compares every number. "
            f"Its configuration:\n\n{block(values)}"
        )
    return f"{block(command.strip())}\n\n{lines}{configuration}"


def _seeds(study: RecordedStudy) -> str:
    """Lists the training seeds of the finals; empty if there are none."""
    return ", ".join(map(str, sorted({final.config["seed"] for final in study.finals})))


def _data(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the data options, updated with the recorded facts about the data; a fact replaces an
    option of the same name."""
    return {
        name.removeprefix(prefix): value
        for prefix in (names.OPTIONS, names.FACTS)
        for name, value in params.items()
        if name.startswith(prefix) and name != names.DIGEST
    }


def _versions(study: RecordedStudy) -> str:
    """Lists the package versions with which the trials were trained, in order of use, and those of
    the study itself."""
    told = study.trained_with(_packages)
    own = [f"{name} {study.tags[tag]}" for tag, name in TOOLS.items() if tag in study.tags]
    return ", ".join(filter(None, [", then ".join(told), *own])) or "not recorded"


def _packages(placement: Placement) -> str:
    return ", ".join(f"{package} {version}" for package, version in placement.versions.items())


def _commits(commits: Sequence[str]) -> str:
    """Lists the commits of the code that trained the trials, in order of use."""
    told = []
    for commit in commits:
        changed = " (and changes that were not committed)" if commit.endswith("+") else ""
        told.append(f"{code(commit.removesuffix('+'))}{changed}")
    return ", then ".join(told) or "not recorded"


def save(report: Chapter, title: str, folder: Path) -> list[Path]:
    """Writes a report's files; returns the paths of the page, of the Markdown and of the figures,
    in this order.

    Raises:
        InputError: If the folder cannot be created.
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


def beside_each_other(studies: Sequence[RecordedStudy], report: Path) -> str:
    """Writes a report that compares several studies.

    Args:
        studies: The studies.
        report: The first study's report folder; the files go to a subfolder named after the
            others.

    Returns:
        The report's Markdown, and the paths of its files.

    Raises:
        InputError: If a study is named twice, or the studies do not measure the same quantity.
    """
    called = [study.name for study in studies]
    if len(set(called)) < len(called):
        raise InputError(f"{' '.join(called)}: expected different studies to set side by side")
    told = compared([_side(study) for study in studies])
    beside = f"beside-{'-'.join(called[1:])}"
    page, text, *_ = save(told, " beside ".join(called), report / beside)
    return f"{told.text}\nreport: {page}, {text}"


def _side(study: RecordedStudy) -> Side:
    outcome, reason = scored(study)
    hours = sum(map(training_seconds, study.every)) / 3600
    return Side(study, outcome, escaped(reason), hours)


def publish(found: Analysed, report: Path) -> str:
    """Writes the report of a study and uploads it to the study's MLflow run.

    Args:
        found: The results of the study.
        report: Folder for the files; created if it does not exist.

    Returns:
        The answer, and the paths of the report.

    Raises:
        InputError: If the folder cannot be created.
    """
    written = write(found)
    page, text, *figures = save(written, found.study.name, report)
    found.study.artifacts.publish(None, [page, text], FOLDER)
    found.study.artifacts.publish(None, figures, f"{FOLDER}/figures")
    return f"{written.answer}\n\nreport: {page}, {text}"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a report from the command line; returns the exit code."""
    line = command_line.parser("Writes the report of a study, or sets several side by side.")
    line.add_argument("others", metavar="OTHER", nargs="*", help="studies to set beside it")

    def written(typed: Namespace, uri: str) -> str:
        folder = command_line.folder_of(typed).report
        study = command_line.named_study(typed, uri)
        if not typed.others:
            return publish(analysed(study), folder)
        others = [command_line.study_of(typed, name, uri).in_mlflow() for name in typed.others]
        return beside_each_other([study, *others], folder)

    return command_line.answered(line, argv, written)


if __name__ == "__main__":
    sys.exit(main())
