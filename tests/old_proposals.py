"""Invented studies that were written down: what the search proposed, and what it was told.

tests/data/proposals/NAME.jsonl has one line for each thing that happened, in order: a session that
begins, a trial of the search or a final that is proposed, an ending, a trial that a session leaves
unfinished. Up to four trials run at once; some are pruned, fail, do not fit or are continued by
the next session; results are made up from the configuration alone. The files were written by a
search that kept Optuna's journal on a disk, which is gone: what came after it proposes the same.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from places import TESTS

from studies.search_memory import SamplerName

FOLDER = TESTS / "data" / "proposals"

Happening = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """One invented study.

    Attributes:
        sampler: Which sampler proposes.
        seed: Seeds it.
        baseline: Whether the baselines are not the defaults.
        learnt: Newest trials that the sampler learns from.
        best: Best of the others that it learns from.
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
    """A made-up result, smooth in some fields, with a little noise that is the configuration's."""
    text = json.dumps(asdict(config), sort_keys=True)
    noise = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    rate = abs(config.learning_rate - 3e-3) * 100
    kinds = 0.3 * (config.head == "dipole") + 0.1 * ("gin", "gat").count(config.family)
    return config.width / 200 + kinds - config.dropout - rate - config.depth / 100 + noise / 10


def recorded(name: str) -> list[Happening]:
    """Everything that happened in a recording, as it was written down."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
