"""What a study of one's own imports; docs/your-own-study.md tells how one is written.

The names here are the project's public face. What they mean stands where they are defined.
"""

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
