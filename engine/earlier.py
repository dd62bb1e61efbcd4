"""Starts a study from what earlier studies found: ``--from NAME ...``.

Their best configurations are tried first. Their trials guide the sampler as well, if they learned
from the same data for as many epochs, so that values can be compared. Both are recorded when the
study begins, so that it goes on in the same way when an earlier study has grown or is gone. No
value of an earlier study counts as a result of this one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from datasets.errors import InputError
from engine.command import Command
from engine.search_memory import LEARNT
from engine.session import protocol
from engine.space import Space
from record import names
from record.facts import EARLIER
from record.folder import StudyFolder
from record.known_log import known_state
from record.state import StudyState
from record.trial import WITH_RESULT, Report, Searched, Trial
from record.values import plain
from trainables.problem import Problem

CARRIED = 3
"""Number of configurations of each earlier study that are tried first, at most."""


@dataclass(frozen=True)
class Earlier:
    """What a new study takes from an earlier one.

    Attributes:
        name: Name of the earlier study.
        best: Its best finished trials in the space of the new one that are no defaults, with
            distinct configurations: that of each compared value, best first, and then the next
            best, at most `CARRIED`.
        inside: All its trials in that space that have a result.
        difference: Why values of the two studies cannot be compared; empty if they can.
    """

    name: str
    best: Sequence[Trial]
    inside: Sequence[Trial]
    difference: str

    @property
    def text(self) -> str:
        """Line for the user."""
        first = f"from {self.name}: {len(self.best)} of its best configurations are tried first"
        if self.difference:
            return f"{first}; its trials do not guide the search, as {self.difference}"
        return f"{first}, and its {len(self.inside)} trials in this space guide the search"


def earlier_states(command: Command) -> dict[str, StudyState]:
    """Reads the studies that a command names to start from, by their names.

    Raises:
        InputError: If there is no such study, its log cannot be read, it has no finished trial, or
            it is a study of something else.
    """
    return {name: _state(command, name) for name in command.earlier}


def _state(command: Command, name: str) -> StudyState:
    try:
        state = known_state(StudyFolder(command.options.runs_dir, name, command.storage))
    except (InputError, OSError) as error:
        raise InputError(f"--from {name}: {error}") from error
    expected = {names.STUDY: command.study.key, names.OBJECTIVE: command.study.objective}
    for what, value in expected.items():
        if (known := state.session.spec[what]) != value:
            raise InputError(f"--from {name}: its {what} is {known}, expected {value}")
    if state.best() is None:
        raise InputError(f"--from {name}: no trial of it finished, so there is nothing to take")
    return state


def from_earlier(command: Command, problem: Problem[Any], space: Space) -> dict[str, Any]:
    """Returns what a new study takes from earlier ones, as its definition records it.

    It has the names of the studies, the configurations to try first and the trials that guide the
    sampler; it is empty if the command names no study.

    Raises:
        InputError: See `earlier_states`; or if no finished trial of one of them lies in the space.
    """
    given = plain({**protocol(command, problem), "epochs": space.epochs})
    found = [taken(name, state, space, given) for name, state in earlier_states(command).items()]
    for each in found:
        command.notify(each.text)
    return recorded(found, command.study.objective) if found else {}


def taken(name: str, state: StudyState, space: Space, given: Mapping[str, Any]) -> Earlier:
    """Returns what a study in a space takes from an earlier one.

    Args:
        name: Name of the earlier study.
        state: Its state.
        space: Space of the new study.
        given: What the trials of the new study learn from, and their epochs.

    Raises:
        InputError: If no finished trial of the earlier study lies in the space.
    """
    known = [trial for trial in state.search() if trial.status in WITH_RESULT]
    inside = [trial for trial in known if not space.misfit(trial.config)]
    finished = [trial for trial in inside if trial.status == "finished"]
    if not finished:
        best = state.best()
        assert best is not None
        raise InputError(
            f"--from {name}: no finished trial of it lies in this space: of trial {best.number}, "
            f"its best, {space.misfit(best.config)}; search a space that has some of them, or "
            "leave --from out"
        )
    ranked = sorted(finished, key=state.standing, reverse=True)
    return Earlier(name, _best(ranked, space), inside, _difference(state, given))


def _best(ranked: Sequence[Trial], space: Space) -> list[Trial]:
    """Returns the best trial of each compared value, best first, and then the next best.

    Defaults and baselines are left out, as they are tried anyway. The best of all values alone
    would often be nearly equal configurations of one value.
    """
    tried, others, heads = space.first(), [], {}
    for trial in ranked:
        drawn = space.drawn_of(trial.config)
        if drawn not in tried:
            tried.append(drawn)
            value = trial.config[space.group_by]
            others += [trial] if value in heads else []
            heads.setdefault(value, trial)
    return [*heads.values(), *others][:CARRIED]


def _difference(state: StudyState, given: Mapping[str, Any]) -> str:
    """Names the first difference in what the trials of two studies learned from, and how long."""
    parts = (names.OPTIONS, names.FACTS)
    spec = {name: v for name, v in state.session.spec.items() if name.startswith(parts)}
    known = {**spec, "epochs": state.search()[0].config["epochs"]}
    for name in {**known, **given}:
        if known.get(name) != given.get(name):
            return f"its {name} is {known.get(name)}, here it is {given.get(name)}"
    return ""


def recorded(found: Sequence[Earlier], objective: str) -> dict[str, Any]:
    """Returns what is taken from several studies, as the definition of a study records it.

    The best configurations of each are tried in turn.
    """
    ranks = range(CARRIED)
    first = [trial.config for rank in ranks for each in found for trial in each.best[rank:][:1]]
    guides = [
        {
            "study": each.name,
            "number": trial.number,
            "config": trial.config,
            "status": trial.status,
            "epoch": trial.epoch,
            "value": trial.value(objective),
        }
        for each in found
        if not each.difference
        for trial in each.inside
    ]
    taken = {"first": first, "trials": guides[-LEARNT:]}
    return {names.FROM: ", ".join(each.name for each in found), EARLIER: plain(taken)}


def with_carried(space: Space, tried: Sequence[Trial], spec: Mapping[str, Any]) -> Space:
    """Returns the space of a session of a study, see `Space.going_on`.

    Args:
        space: The space of the command.
        tried: Trials of the search so far.
        spec: Definition of the study, as its first session recorded it.
    """
    common = {"epochs": space.epochs, "seed": space.default(space.compared[0]).seed}
    known = {field.name for field in fields(space.config)}
    first = [{**config, **common} for config in spec.get(EARLIER, {}).get("first", ())]
    inside = [config for config in first if not space.misfit(config)]
    carried = [space.config(**{k: v for k, v in c.items() if k in known}) for c in inside]
    return space.going_on([trial.config for trial in tried], carried)


def prior(state: StudyState) -> list[list[Trial]]:
    """Returns the trials of each earlier study that guide the sampler of a study."""
    session, studies = state.sessions[0], {}
    for place, each in enumerate(session.spec.get(EARLIER, {}).get("trials", ())):
        trial = _trial(place, each, session.objective, session.at)
        studies.setdefault(each["study"], []).append(trial)
    return list(studies.values())


def _trial(place: int, known: Mapping[str, Any], objective: str, at: datetime) -> Trial:
    report = Report(known["epoch"], int(1000 * at.timestamp()), 0.0, {objective: known["value"]})
    return Trial(place, known["config"], {}, Searched(place), known["status"], (report,))
