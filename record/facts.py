"""Converts the start of a study's latest session into the params and tags of its MLflow run.

The keys of a session's spec are the params of the study's run: data options begin with
`names.OPTIONS`, and facts found in the data with `names.FACTS`. The nested entries that define the
search space are not shown. A session's settings are the tags of the run.
"""

import json
from typing import Any

from record import names, values
from record.events import SessionBegan
from record.tracker import StudyFacts

FIXED, DEFAULTS, BASELINES, LISTED = "fixed", "defaults", "baselines", "listed"
"""Keys of a spec that are not shown in MLflow: the fields set by the user, the default and
baseline configurations, and the listed configurations if there are any."""

EARLIER = "earlier"
"""Key of a first session's spec that is not shown in MLflow: what the study took from earlier
studies, see `engine.earlier`."""


def facts_of(session: SessionBegan) -> StudyFacts:
    """Returns what a tracker shows of a study, from the start of its latest session."""
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
    """Returns the part of a study's spec that is shown as params of its run."""
    hidden = (FIXED, DEFAULTS, BASELINES, LISTED, EARLIER)
    return {name: value for name, value in session.spec.items() if name not in hidden}
