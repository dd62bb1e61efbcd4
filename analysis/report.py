"""What a study found, as one web page and as Markdown, from what is recorded of it alone.

    python analysis/report.py NAME
    python analysis/report.py NAME OTHER ...

writes runs/NAME/report/report.html, which needs nothing beside it, and report.md with figures/.
With several names the studies are set side by side, see analysis/side_by_side.py.

Nothing is scored here: the test split was, at the end of the study, and its outcomes are read.
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
from analysis.search_report import Chapter, search, use
from analysis.side_by_side import Side, compared
from datasets.errors import InputError
from datasets.files import write_whole
from record import names
from record.own_commands import own_command
from record.recorded_study import RecordedStudy
from record.trial import Placement, Trial

TOOLS = {names.VERSION + name: name for name in ("ray", "optuna")}
"""Tags of the versions that the study itself ran with."""


@dataclass(frozen=True)
class Section:
    """What an analysis found, in the report.

    Attributes:
        heading: Its title there.
        cards: What was found.
        missing: Why nothing was.
    """

    heading: str
    cards: Sequence[Card] = ()
    missing: str = ""


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

    def section(self, section: Section) -> None:
        """Takes up what an analysis found, or why it found nothing."""
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
    """Everything that was found of a study, made once.

    Attributes:
        study: The study.
        outcome: Of its finals; None: there is none.
        finals: What they say.
        own: What the study itself shows.
        learning: How its trials learned.
    """

    study: RecordedStudy
    outcome: Outcome | None
    finals: Section
    own: Section
    learning: Section

    @property
    def cards(self) -> Sequence[Card]:
        """All of them, in the order in which they are printed."""
        return (*self.learning.cards, *self.own.cards, *self.finals.cards)

    @property
    def missing(self) -> Sequence[str]:
        """Why some of them are not there."""
        sections = (self.learning, self.own, self.finals)
        return tuple(section.missing for section in sections if section.missing)

    @property
    def answer(self) -> str:
        """What the study has come to; Markdown."""
        return answer(self.study, self.outcome, escaped(self.finals.missing))

    def description(self) -> str:
        """What the study's run opens on in MLflow."""
        return description(self.study, self.outcome, self.finals.missing)


def description(study: RecordedStudy, outcome: Outcome | None, reason: str) -> str:
    """What a study's run opens on in MLflow: question, answer, finalists.

    Args:
        study: The study.
        outcome: What `scored` gives of its finals.
        reason: And why they say nothing.
    """
    table = finals.markdown(outcome, study) if outcome else ""
    return f"{question(study)}\n\n{answer(study, outcome, escaped(reason))}\n\n{table}".strip()


def analysed(study: RecordedStudy) -> Analysed:
    """Makes everything that there is to show of a study.

    Raises:
        InputError: If it is not known what defines the study.
    """
    outcome, reason = scored(study)
    cards = (finals.card_of(outcome, study),) if outcome else ()
    scorecard = study.scorecard
    return Analysed(
        study,
        outcome,
        finals=Section("The finalists", cards, reason),
        own=_section(scorecard.heading, lambda: tuple(scorecard.cards(study))),
        learning=_section("Loss curves", lambda: (loss_curves.make(study),)),
    )


def _section(heading: str, make: Callable[[], Sequence[Card]]) -> Section:
    try:
        return Section(heading, make())
    except InputError as error:
        return Section(heading, missing=str(error))


def write(found: Analysed) -> Report:
    """Writes the report of a study."""
    study, outcome = found.study, found.outcome
    winner = outcome.champion.trial if outcome else study.best(study.trials)
    report = Report(answer=found.answer)
    report.add(f"# {escaped(study.name)}")
    report.add(question(study))
    report.add(f"> {report.answer}")
    report.section(found.finals)
    if found.own.cards or found.own.missing:
        report.section(found.own)
    if published := study.scorecard.published(study):
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
    """What the finals of a study say; or None, and why they say nothing."""
    if not study.finals:
        return None, finals.NONE
    try:
        outcome = finals.outcome(study)
    except InputError as error:
        return None, str(error)
    return outcome, "" if outcome else "none of them finished, or none was scored"


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
        replay = f"{own_command('studies.replay')} {study.name}/{winner.number}"
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


def beside_each_other(studies: Sequence[RecordedStudy], report: Path) -> str:
    """Writes several studies' report, into the folder of the first.

    Args:
        studies: The studies.
        report: Folder for the files; made if it is not there.

    Returns:
        Where the report is.

    Raises:
        InputError: If they do not measure the same quantity.
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
    """Writes the report of a study, and puts it beside the study's run in MLflow.

    Args:
        found: What there is to show.
        report: Folder for the files; made if it is not there.

    Returns:
        The answer, and where the report is.
    """
    written = write(found)
    page, text, *figures = save(written, found.study.name, report)
    found.study.artifacts.publish(None, [page, text], FOLDER)
    found.study.artifacts.publish(None, figures, f"{FOLDER}/figures")
    return f"{written.answer}\n\nreport: {page}, {text}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
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
