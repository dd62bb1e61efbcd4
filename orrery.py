"""The project's public API: the names that a user's own study imports.

docs/your-own-study.md explains how to write a study. Each name is documented where it is defined.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

PACKAGES = ("analysis", "datasets", "engine", "record", "studies", "trainables")
"""The project's top-level packages; no other module may have one of these names."""


def _check_names() -> None:
    """Puts the project's folder first on ``sys.path``, so that its packages win over namesakes.

    Raises:
        SystemExit: With code 2, if a module of the same name is imported already, or lies beside
            the script that is run.
    """
    if not (ROOT / PACKAGES[0]).is_dir():  # on a Ray worker each package has its own folder
        return
    beside = Path(sys.path[0] or ".").resolve()
    sys.path.insert(0, str(ROOT))
    for name in PACKAGES:
        file = getattr(sys.modules.get(name), "__file__", None)
        is_other = name in sys.modules and (not file or ROOT not in Path(file).resolve().parents)
        theirs = [beside / f"{name}.py", beside / name / "__init__.py"]
        found = [path for path in theirs if beside != ROOT and path.is_file()]
        if is_other or found:
            where = found[0] if found else file or name
            print(
                f"error: {where} has the name of one of orrery's packages: rename it, or, where "
                f"it is an installed package, import orrery before {name}",
                file=sys.stderr,
            )
            raise SystemExit(2)


_check_names()

# isort: split
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole

from analysis.curves import Curve, Learning, curve
from analysis.scorecard import Scorecard
from analysis.tensor_scorecard import TensorScorecard
from datasets.errors import InputError
from datasets.tools import Tools
from engine.main import main
from engine.study import NoOptions, Study
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Replicate, Role, Trial
from trainables.config import FitConfig, TrialConfig, When, at_least, one_of
from trainables.fit import SupervisedLearner, SupervisedProblem, Task
from trainables.learner import Diverged, Learner, Probe, Snapshot
from trainables.problem import Context, Problem
from trainables.tensors import TensorProblem

__all__ = [
    "Choice",
    "Context",
    "Curve",
    "Diverged",
    "FitConfig",
    "InputError",
    "Learner",
    "Learning",
    "NoOptions",
    "Outcomes",
    "Probe",
    "Problem",
    "Real",
    "RecordedStudy",
    "Replicate",
    "Role",
    "Scorecard",
    "Snapshot",
    "Study",
    "SupervisedLearner",
    "SupervisedProblem",
    "Task",
    "TensorProblem",
    "TensorScorecard",
    "Tools",
    "Trial",
    "TrialConfig",
    "When",
    "Whole",
    "at_least",
    "curve",
    "main",
    "one_of",
]
