"""Builds the event that begins a session, and refuses to continue a study as a different one.

The definition of a study never changes: continuing it with another one would mix two questions.
Only the part of its space that a session searches may: see `engine.narrowing`.
"""

import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from datasets.addresses import shown
from datasets.errors import InputError
from engine.command import Command
from engine.history import utc_now
from engine.narrowing import widenings
from engine.provenance import Code
from engine.rungs import rungs
from engine.space import Space
from record import names
from record.definition import place_of
from record.events import SessionBegan
from record.facts import BASELINES, DEFAULTS, EARLIER, FIXED, LISTED
from record.state import StudyState
from record.values import plain
from trainables.problem import Problem


def session_of(
    command: Command,
    problem: Problem[Any],
    space: Space,
    code: Code,
    needed_gib: float | None,
    state: StudyState,
    earlier: Mapping[str, Any],
) -> SessionBegan:
    """Returns the event that begins a session.

    Args:
        command: The study and its command line.
        problem: Data and task that the trials learn from.
        space: The search space.
        code: Version of the code that trains the trials.
        needed_gib: Maximum GPU memory of a trial, in GiB; None if it was not measured.
        state: State of the study so far.
        earlier: What the study started from, see `engine.earlier.from_earlier`.
    """
    return SessionBegan(
        session=f"session-{len(state.sessions) + 1:04d}",
        identity=state.session.identity if state.sessions else uuid.uuid4().hex,
        objective=command.study.objective,
        direction="maximize",
        spec=_spec(command, problem, space, earlier),
        space=plain(space.searched()),
        settings=_settings(command, space, code, needed_gib, state),
        at=utc_now(),
    )


def protocol(command: Command, problem: Problem[Any]) -> dict[str, Any]:
    """Returns what the trials of a study learn from, as its definition has it."""
    options = {
        name: shown(value) if isinstance(value, str) else value
        for name, value in asdict(command.data_options).items()
    }
    return {
        **{names.OPTIONS + name: value for name, value in options.items()},
        names.DIGEST: problem.digest,
        **{names.FACTS + name: value for name, value in problem.facts.items()},
    }


def _spec(
    command: Command, problem: Problem[Any], space: Space, earlier: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns the definition of a study with the space of a session, see `record.facts`."""
    spec = {
        names.STUDY: command.study.key,
        names.OBJECTIVE: command.study.objective,
        names.GROUP_BY: command.study.group_by,
        names.SEED: command.seed,
        names.PRESET: command.options.preset or "none",
        names.SAMPLER: "listed" if command.options.configurations else command.options.sampler,
        "version": version("orrery"),
        **protocol(command, problem),
        **earlier,
        FIXED: dict(space.fixed),
        DEFAULTS: {str(value): asdict(space.default(value)) for value in space.compared},
        **({} if space.listed is None else {LISTED: [asdict(config) for config in space.listed]}),
        BASELINES: {str(value): asdict(space.baseline(value)) for value in space.compared},
    }
    try:
        return plain(spec)
    except (TypeError, ValueError) as error:
        raise InputError(f"what the study is cannot be recorded: {error}") from None


def _settings(
    command: Command, space: Space, code: Code, needed_gib: float | None, state: StudyState
) -> dict[str, str]:
    """Returns what may change between sessions, as tags of the study's MLflow run."""
    options, folder = command.options, command.folder
    return {
        names.QUESTION: command.study.question,
        names.DATA_TITLE: command.data_title(),
        **place_of(command.study.file),
        names.COMMAND: command.text,
        names.KEEP: str(options.keep),
        names.STORAGE: str(folder.sessions) if folder.storage is not None else "",
        names.SCHEDULER: "none" if options.local else options.scheduler,
        names.DEFAULTS: ", ".join(str(state.number(index)) for index in space.defaults_at()),
        names.ENVIRONMENT: command.environment(),
        names.RUNGS: ", ".join(map(str, rungs(space.epochs, command.study.first_rung))),
        names.SOURCE: command.script,
        names.SOURCE_COMMIT: code.commit,
        names.HOST: platform.node(),
        **{names.VERSION + each: version(each) for each in ("ray", "torch", "optuna")},
        **({names.GPU_MEMORY: f"{needed_gib:.3f}"} if needed_gib else {}),
    }


def measured_before(state: StudyState) -> float | None:
    """Returns the maximum GPU memory of a trial that an earlier session recorded, in GiB.

    Returns None if no pre-flight measured it.
    """
    if not state.sessions or names.GPU_MEMORY not in state.session.settings:
        return None
    return float(state.session.settings[names.GPU_MEMORY])


def refuse_another(name: str, known: SessionBegan, given: SessionBegan) -> None:
    """Checks that a study is continued with the definition that it was begun with.

    Args:
        name: Name of the study.
        known: The session that began it.
        given: The session to begin.

    Raises:
        InputError: If the definitions differ, or the space is not a part of the one that it was
            begun with; the message names each difference.
    """
    others = [
        *_differences(_question(known), _question(given)),
        *_differences_of_lists(known.spec.get(LISTED, ()), given.spec.get(LISTED, ())),
    ]
    differences = [*others, *widenings(known, given)]
    if differences:
        start = "" if others else f" and start it --from {name}"
        raise InputError(
            f"the study {name} was begun with another question: {'; '.join(differences)}; "
            f"give this one a --name of its own{start}, or repeat the command it was begun with"
        )


def narrowed(state: StudyState, space: Space) -> str:
    """Tells the user how much of a study lies in the space of its session, if that is a part of
    the space that the study was begun with; empty if it is the whole."""
    first, trials = state.sessions[0], state.search()
    if (first.space, first.spec.get(FIXED)) == (state.session.space, state.session.spec[FIXED]):
        return ""
    inside = sum(space.includes(trial.config) for trial in trials)
    return (
        f"a part of the study's space is searched: {inside} of its {len(trials)} trials lie in it "
        "and guide the search; all of them stay in the study"
    )


def changed_file(known: SessionBegan, given: SessionBegan) -> str:
    """Returns the file that defines a study if it is another one than in the session before, or
    has changed; empty if not, or if it belongs to this project, whose commit is recorded."""
    before, now = (each.settings.get(names.FILE_DIGEST) for each in (known, given))
    return given.settings[names.FILE] if now is not None and before != now else ""


def _question(session: SessionBegan) -> dict[str, Any]:
    """Returns the definition of a study without its space."""
    others = (FIXED, DEFAULTS, BASELINES, LISTED, EARLIER)
    return {name: value for name, value in session.spec.items() if name not in others}


def _differences(known: Any, given: Any, place: str = "") -> Iterator[str]:
    """Yields each difference of two nested values as ``place was known, now given``."""
    if isinstance(known, Mapping) and isinstance(given, Mapping):
        for key in sorted({*known, *given}):
            inner = f"{place}.{key}" if place else key
            if key not in known:
                yield f"{inner} is new"
            elif key not in given:
                yield f"{inner} is gone"
            else:
                yield from _differences(known[key], given[key], inner)
    elif known != given:
        yield f"{place} was {known}, now {given}"


def _differences_of_lists(
    known: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yields the differences of two lists of configurations, with an example of each kind.

    The example is described by the fields that vary among all of the configurations.
    """
    before, now = ({tuple(each.items()): each for each in listed} for listed in (known, given))
    every = (now | before).values()
    fields = dict.fromkeys(name for each in every for name in each)
    varied = [name for name in fields if len({each.get(name) for each in every}) > 1]
    for what, there in (("new", now.keys() - before), ("gone", before.keys() - now)):
        if there:
            first = next(each for key, each in (now | before).items() if key in there)
            named = ", ".join(f"{name} {first.get(name)}" for name in varied)
            yield f"of the listed configurations {len(there)} are {what}, such as {named}"
    if before.keys() == now.keys() and [*before] != [*now]:
        yield "the listed configurations have another order"
