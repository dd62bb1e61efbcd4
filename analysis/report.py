"""What a study found, as one web page and as Markdown, from what MLflow has of it alone.

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
from analysis.finals import Outcome
from analysis.findings import FOLDER, Find
from analysis.markdown import block, code, escaped
from analysis.published import beside
from analysis.runs import (
    COMMIT,
    ENVIRONMENT,
    FACTS,
    OPTIONS,
    SCHEDULER,
    VERSIONS,
    StudyRuns,
    TrackingStore,
    TrialRun,
)
from analysis.search_report import Chapter, search, training_seconds, use
from analysis.side_by_side import Side, compared
from datasets.addresses import shown
from datasets.errors import InputError
from datasets.files import write_whole

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

TOOLS = {"version.ray": "ray", "version.optuna": "optuna"}
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

    def found(self, find: Find, store: TrackingStore, runs: StudyRuns) -> None:
        """Takes up what an analysis found, or why it found nothing."""
        try:
            findings = find(store, runs, _unscored)
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


def write(store: TrackingStore, runs: StudyRuns) -> Report:
    """Writes the report of a study.

    Args:
        store: MLflow's.
        runs: The study.
    """
    outcome, reason = scored(store, runs)
    winner = outcome.champion.trial if outcome else runs.best(runs.trials)
    report = Report(answer=answer(runs, outcome, reason))
    report.add(f"# {escaped(runs.name)}")
    report.add(question(runs))
    report.add(f"> {report.answer}")
    report.head("The finalists")
    if outcome is None:
        report.add(f"Not there: {reason}.")
    else:
        report.found(lambda *_: finals.findings_of(outcome, runs), store, runs)
    _scores(report, store, runs)
    report.head("Loss curves")
    report.found(loss_curves.find, store, runs)
    report.head("The search")
    report.join(search(store, runs, winner))
    report.head("Time and devices")
    report.add(use(store, runs))
    report.head("Do it again")
    report.add(_again(runs, winner))
    return report


def scored(store: TrackingStore, runs: StudyRuns) -> tuple[Outcome | None, str]:
    """What the finals of a study say; or None, and as Markdown why they say nothing."""
    if not runs.finals:
        return None, finals.NONE
    try:
        outcome = finals.outcome(store, runs, _unscored)
    except InputError as error:
        return None, escaped(str(error))
    return outcome, "" if outcome else "none of them finished, or no weights of them were kept"


def description(study: str, tracking_uri: str) -> str:
    """What the study's run opens on in MLflow: question, answer, finalists.

    Raises:
        InputError: If there is no such study.
    """
    store = TrackingStore(tracking_uri)
    runs = store.study(study)
    outcome, reason = scored(store, runs)
    table = finals.markdown(outcome, runs) if outcome else ""
    return f"{question(runs)}\n\n{answer(runs, outcome, reason)}\n\n{table}".strip()


def _scores(report: Report, store: TrackingStore, runs: StudyRuns) -> None:
    if runs.kind in SCORES:
        title, find = SCORES[runs.kind]
        report.head(title)
        report.found(find, store, runs)
    if (published := beside(runs)) is not None:
        report.add("### Published figures")
        report.add(published.markdown())


def _again(runs: StudyRuns, winner: TrialRun | None) -> str:
    """Everything that is needed to do a study again."""
    tags = runs.tags
    data = ", ".join(f"{name} {value}" for name, value in _data(runs.params).items())
    told = {
        "commit": _commits(runs.trained_with(COMMIT)),
        "data": escaped(data),
        "digest of the data": code(runs.params.get("data.digest", "not recorded")),
        "versions": escaped(_versions(runs)),
        "seed of the study": runs.params.get("seed", "not recorded"),
        "seeds of the finals": ", ".join(sorted({f.params["seed"] for f in runs.finals}, key=int))
        or "no finals",
        "sampler": runs.params.get("sampler", "not recorded"),
        "scheduler": tags.get(SCHEDULER, "not recorded"),
        "machine": escaped(tags.get("orrery.host", "not recorded")),
        "run in MLflow": code(runs.run_id),
    }
    asked = f"{tags.get(ENVIRONMENT, '')} {tags.get('orrery.command', 'not recorded')}".strip()
    command = shown(asked)  # an earlier version recorded it as it was typed
    lines = "\n".join(f"- {name}: {value}" for name, value in told.items())
    configuration = ""
    if winner is not None:
        values = json.dumps(dict(winner.params), indent=1).replace('"', "")
        replay = f"python studies/replay.py {runs.name}/{winner.number}"
        configuration = (
            f"\n\n{code(replay)} trains trial {winner.number} again and compares every number. "
            f"Its configuration:\n\n{block(values)}"
        )
    return f"{block(command)}\n\n{lines}{configuration}"


def _data(params: Mapping[str, str]) -> dict[str, str]:
    """The options that name the data, and in place of those of the same name what was found."""
    return {
        name.removeprefix(prefix): value
        for prefix in (OPTIONS, FACTS)
        for name, value in params.items()
        if name.startswith(prefix) and name != "data.digest"
    }


def _versions(runs: StudyRuns) -> str:
    """Those with which the trials were trained, one after the other, and the study's own."""
    told = [
        each.replace(" ", ", ").replace("==", " ")
        for each in runs.trained_with(VERSIONS).split(", then ")
    ]
    own = [f"{name} {runs.tags[tag]}" for tag, name in TOOLS.items() if tag in runs.tags]
    return ", ".join(filter(None, [", then ".join(told), *own])) or "not recorded"


def _commits(commits: str) -> str:
    """Those of the code that trained the trials, one after the other."""
    told = []
    for commit in filter(None, commits.split(", then ")):
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


def beside_each_other(studies: Sequence[str], tracking_uri: str, report: Path) -> str:
    """Writes several studies' report, into the folder of the first.

    Args:
        studies: Their names.
        tracking_uri: MLflow's.
        report: Folder for the files; made if it is not there.

    Returns:
        Where the report is.

    Raises:
        InputError: If there is no such study, or they do not measure the same quantity.
    """
    store = TrackingStore(tracking_uri)
    if len(set(studies)) < len(studies):
        raise InputError(f"{' '.join(studies)}: expected different studies to set side by side")
    runs = [store.study(name) for name in studies]
    told = compared([_side(store, each) for each in runs])
    beside = f"beside-{'-'.join(each.name for each in runs[1:])}"
    page, text, *_ = save(told, " beside ".join(studies), report / beside)
    return f"{told.text}\nreport: {page}, {text}"


def _side(store: TrackingStore, runs: StudyRuns) -> Side:
    trained = [trial for trial in (*runs.trials, *runs.finals) if trial.metrics.get("epoch")]
    hours = sum(training_seconds(store, trial) for trial in trained) / 3600
    return Side(runs, *scored(store, runs), hours)


def analyse(study: str, tracking_uri: str, data_dir: Path, report: Path) -> str:
    """Writes the report of a study, and publishes it with its run.

    Args:
        study: Its name.
        tracking_uri: MLflow's.
        data_dir: Not needed: all that is told is in MLflow.
        report: Folder for the files; made if it is not there.

    Returns:
        The answer, and where the report is.

    Raises:
        InputError: If there is no such study.
    """
    del data_dir
    store = TrackingStore(tracking_uri)
    runs = store.study(study)
    written = write(store, runs)
    page, text, *figures = save(written, study, report)
    store.publish(runs.run_id, [page, text], FOLDER)
    store.publish(runs.run_id, figures, f"{FOLDER}/figures")
    return f"{written.answer}\n\nreport: {page}, {text}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    line = command_line.parser("Writes the report of a study, or sets several side by side.")
    line.add_argument("others", metavar="OTHER", nargs="*", help="studies to set beside it")

    def written(typed: Namespace, uri: str, report: Path) -> str:
        if typed.others:
            return beside_each_other([typed.study, *typed.others], uri, report)
        return analyse(typed.study, uri, Path(), report)

    return command_line.answer(line, argv, written)


if __name__ == "__main__":
    sys.exit(main())
