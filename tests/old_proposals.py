"""Recordings of the proposals and results of invented studies, for regression tests of the search.

tests/data/proposals/NAME.jsonl has one line for each event, in order: a session begins, a trial of
the search or of the finals is proposed, a trial ends, a trial is left unfinished by its session.
Up to four trials run at once; some are pruned, fail, run out of memory or are continued by the
next session; results are computed from the configuration alone. The files were written by an
earlier implementation of the search, which kept Optuna's journal on disk; the current one has to
propose the same.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from places import TESTS

from engine.search_memory import SamplerName

FOLDER = TESTS / "data" / "proposals"

Happening = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """Settings of one recorded study.

    Attributes:
        sampler: Name of the sampler.
        seed: Seed of the sampler.
        baseline: Whether the study has baselines of its own instead of the defaults.
        learnt: Number of the newest trials that the sampler learns from.
        best: Number of the best other trials that the sampler learns from.
    """

    sampler: SamplerName
    seed: int
    baseline: bool = False
    learnt: int = 500
    best: int = 25


RECORDINGS = {
    "tpe": Recording("tpe", 0),
    "tpe-few": Recording("tpe", 3, baseline=True, learnt=60, best=10),
    "random": Recording("random", 1, baseline=True),
}


def score(config: Any) -> float:
    """Computes an invented result of a configuration: smooth in some fields, plus noise derived
    from a hash of the configuration."""
    text = json.dumps(asdict(config), sort_keys=True)
    noise = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    rate = abs(config.learning_rate - 3e-3) * 100
    kinds = 0.3 * (config.head == "dipole") + 0.1 * ("gin", "gat").count(config.family)
    return config.width / 200 + kinds - config.dropout - rate - config.depth / 100 + noise / 10


def recorded(name: str) -> list[Happening]:
    """Reads the events of a recording."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
