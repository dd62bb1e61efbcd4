"""What a tracker shows of a study itself: all of it is in how its latest session began.

A session's spec is flat, its keys are the params of the study's run: what the study learned from
begins with `names.OPTIONS`, what was found there with `names.FACTS`. Only what decides the space
is nested, and not shown. A session's settings are the tags of that run.
"""

import json
from typing import Any

from record import names, values
from record.events import SessionBegan
from record.tracker import StudyFacts

FIXED, DEFAULTS, BASELINES = "fixed", "defaults", "baselines"
"""Keys of a spec that are not shown: fields that the user set, and what is tried first."""


def facts_of(session: SessionBegan) -> StudyFacts:
    """What to show of a study."""
    digest = session.spec[names.DIGEST]
    params = shown_spec(session)
    found = {
        names.DATA_FACT + name.removeprefix(names.FACTS): str(value)
        for name, value in params.items()
        if name.startswith(names.FACTS)
    }
    return StudyFacts(
        identity=session.identity,
        question=session.settings[names.QUESTION],
        params=params,
        tags={**session.settings, names.SPEC: json.dumps(values.to_json(params))},
        trial_tags={names.DATA_DIGEST: digest, **found},
        data=(session.settings[names.DATA_TITLE], digest),
        space=session.space,
    )


def shown_spec(session: SessionBegan) -> dict[str, Any]:
    """What a study is, as its run's params."""
    hidden = (FIXED, DEFAULTS, BASELINES)
    return {name: value for name, value in session.spec.items() if name not in hidden}
