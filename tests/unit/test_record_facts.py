"""What is shown of a study is in how its latest session began."""

import json
from typing import Any

from happened import SPACE, began

from record import names
from record.events import SessionBegan
from record.facts import facts_of, shown_spec

SPEC: dict[str, Any] = {
    **began().spec,
    "data.dataset": "qm9",
    "facts.unit": "D",
    "facts.sizes": (96, 12, 12),
    "fixed": {"epochs": 3},
    "defaults": {"gcn": {"width": 64}},
    "baselines": {"gcn": {"width": 32}},
}


def session() -> SessionBegan:
    return began(spec=SPEC)


def test_a_study_is_shown_by_what_it_asks_and_is() -> None:
    facts = facts_of(session())
    assert (facts.identity, facts.question, facts.space) == ("x", "Why?", SPACE)
    assert facts.data == ("molecules", "0123")
    assert facts.params == {
        "seed": 0,
        "group_by": "width",
        "data.digest": "0123",
        "data.dataset": "qm9",
        "facts.unit": "D",
        "facts.sizes": (96, 12, 12),
    }


def test_what_only_decides_the_space_is_not_shown() -> None:
    hidden = {"fixed", "defaults", "baselines"}
    assert SPEC.keys() - shown_spec(session()).keys() == hidden


def test_each_trial_says_what_was_found_in_the_data() -> None:
    assert facts_of(session()).trial_tags == {
        names.DATA_DIGEST: "0123",
        "orrery.data.unit": "D",
        "orrery.data.sizes": "(96, 12, 12)",
    }


def test_the_tags_are_the_settings_and_the_params_typed() -> None:
    tags = dict(facts_of(session()).tags)
    spec = json.loads(tags.pop(names.SPEC))
    assert tags == began().settings
    assert (spec["seed"], spec["facts.sizes"]) == (0, [96, 12, 12])
    assert spec.keys() == shown_spec(session()).keys()
