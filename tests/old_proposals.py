"""Writes down what a search proposes in an invented study, and what it is told, in order.

    python tests/old_proposals.py

writes tests/data/proposals/NAME.jsonl, one line for each thing that happened: a session that
begins, a trial of the search or a final that is proposed, an ending, a trial that a session leaves
unfinished. Up to four trials run at once; some are pruned, fail, do not fit or are continued by
the next session; results are made up from the configuration alone. The files were written by the
search that kept Optuna's journal on a disk: whatever replaces it has to propose the same.
"""

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import studies.search
from places import TESTS
from recorded_space import RecordedConfig, recorded_space
from studies.finals import Finals
from studies.search import Proposal, SamplerName, Search

FOLDER = TESTS / "data" / "proposals"

AT_ONCE = 4
"""Trials that run at once."""

PRUNED_AFTER = (3, 6, 12)
"""Epochs, of 15, after which a trial may be stopped early."""

Happening = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """One invented study.

    Attributes:
        sampler: Which sampler proposes.
        seed: Seeds it.
        sessions: Trials of the search after each session, in all; a session that is to be cut off
            before its last trials have ended has a negative number.
        finals: Whether the session is followed by finals.
        baseline: Whether the baselines are not the defaults.
        learnt: Newest trials that the sampler learns from.
        best: Best of the others that it learns from.
    """

    sampler: SamplerName
    seed: int
    sessions: Sequence[int]
    finals: Sequence[bool]
    baseline: bool = False
    learnt: int = 500
    best: int = 25


RECORDINGS = {
    "tpe": Recording("tpe", 0, (-60, 110, -150, 200), (False, True, False, True)),
    "tpe-few": Recording("tpe", 3, (-90, 200), (True, True), baseline=True, learnt=60, best=10),
    "random": Recording("random", 1, (-120, 200), (False, True), baseline=True),
}


@dataclass
class Invented:
    """What happens to the trials of one recording, decided by its own random numbers."""

    recording: Recording
    chance: random.Random = field(init=False)
    running: list[Proposal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.recording.seed)

    def happenings(self, folder: Path) -> Iterator[Happening]:
        """Everything that happens, in order."""
        sessions = zip(self.recording.sessions, self.recording.finals, strict=True)
        for trials, finals in sessions:
            search = self._open(folder)
            yield {"session": abs(trials)}
            yield from self._run(search, search, abs(trials), leave=trials < 0)
            if finals:
                chosen = Finals(search, count=2, seeds=3)
                yield from self._run(search, chosen, chosen.total, leave=False)

    def _open(self, folder: Path) -> Search:
        space = recorded_space(self.recording.baseline)
        recording = self.recording
        return Search(folder / "log", "s", space, recording.sampler, recording.seed, {})

    def _run(
        self, search: Search, proposer: Search | Finals, total: int, leave: bool
    ) -> Iterator[Happening]:
        self.running = list(proposer.unfinished())
        yield from ({"continued": proposal.number} for proposal in self.running)
        while self.running or proposer.asked < total:
            if proposer.asked < total and len(self.running) < AT_ONCE:
                self.running.append(proposer.ask())
                yield _proposed(search, self.running[-1])
            elif leave and proposer.asked >= total:
                yield from ({"left": proposal.number} for proposal in self.running)
                return
            else:
                yield self._ended(search)

    def _ended(self, search: Search) -> Happening:
        """Ends one of the trials that run, which may not be the oldest."""
        proposal = self.running.pop(self.chance.randrange(len(self.running)))
        value, fate = score(proposal.config), self.chance.random()
        ending: dict[str, Any] = {"ended": proposal.number, "state": "finished", "value": value}
        if proposal.config.width * proposal.config.depth > 1500:  # pyright: ignore
            ending |= {"state": "infeasible", "value": None}
        elif fate < 0.1:
            ending |= {"state": "failed", "value": None}
        elif fate < 0.4 and not proposal.baseline and proposal.of is None:
            epoch = self.chance.choice(PRUNED_AFTER)
            ending |= {"state": "pruned", "value": value - 1 / epoch, "epoch": epoch}
        state, value = ending["state"], ending["value"]
        search.tell(proposal.number, state, value, ending.get("epoch", 15), "so it goes")
        return ending


def score(config: Any) -> float:
    """A made-up result, smooth in some fields, with a little noise that is the configuration's."""
    text = json.dumps(asdict(config), sort_keys=True)
    noise = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    rate = abs(config.learning_rate - 3e-3) * 100
    kinds = 0.3 * (config.head == "dipole") + 0.1 * ("gin", "gat").count(config.family)
    return config.width / 200 + kinds - config.dropout - rate - config.depth / 100 + noise / 10


def _proposed(search: Search, proposal: Proposal) -> Happening:
    """A proposal: of its configuration what is not the default, and what Optuna drew."""
    frozen = search.study.get_trials(deepcopy=False)[proposal.number]
    default = asdict(RecordedConfig())
    config = asdict(proposal.config)
    changed = {name: config[name] for name in config if config[name] != default[name]}
    if proposal.of is not None:
        return {"proposed": proposal.number, "of": proposal.of, "config": changed}
    role = "baseline" if proposal.baseline else "searched"
    drawn = dict(frozen.params)
    return {"proposed": proposal.number, "role": role, "config": changed, "drawn": drawn}


def happenings(name: str, folder: Path) -> list[Happening]:
    """Everything that happens in a recording, anew."""
    recording = RECORDINGS[name]
    known = studies.search.LEARNT, studies.search.BEST
    studies.search.LEARNT, studies.search.BEST = recording.learnt, recording.best
    try:
        return list(Invented(recording).happenings(folder))
    finally:
        studies.search.LEARNT, studies.search.BEST = known


def recorded(name: str) -> list[Happening]:
    """Everything that happened in a recording, as it was written down."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def main() -> int:
    """Writes all recordings."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in RECORDINGS:
        with tempfile.TemporaryDirectory() as folder:
            lines = [json.dumps(each) for each in happenings(name, Path(folder))]
        text = "\n".join(lines) + "\n"
        (FOLDER / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
