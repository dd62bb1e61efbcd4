"""The homework's loop as a study: it learns as a trial has to, and from one configuration only."""

import pytest
import torch
from learner_contract import Begin, LearnerContract, advanced
from moving_stripes import striped_drives

from benchmarks.driving_step import StepLoop
from benchmarks.homework_loop import STUDY, LoopProblem
from datasets.errors import InputError
from engine.command import Command
from engine.options import Options
from record.trial import Searched
from trainables.driving import DrivingTask
from trainables.models.world_model import WorldModelConfig, homework
from trainables.problem import Context

CPU = torch.device("cpu")
CONFIG = WorldModelConfig(**homework("builtin"), epochs=3)


@pytest.fixture(scope="module")
def problem() -> LoopProblem:
    return LoopProblem(striped_drives())


class TestLoopLearner(LearnerContract):
    @pytest.fixture
    def begin(self, problem: LoopProblem) -> Begin:
        return lambda: problem.learner(CONFIG, Searched(0), Context(CPU, 1))


def test_its_epochs_are_those_of_the_homework_s_loop(problem: LoopProblem) -> None:
    loop = StepLoop(DrivingTask(problem.drives, CONFIG, CPU), CPU)
    for _ in range(2):
        loop.train_epoch()
    with torch.no_grad():
        expected = loop.task.evaluate(loop.model.eval())
    learner = problem.learner(CONFIG, Searched(0), Context(CPU, 1))
    assert advanced(learner, 1, 2)[-1] == expected


def test_only_the_core_is_searched_and_the_rest_is_the_homework_s(problem: LoopProblem) -> None:
    command = Command(STUDY, Options(), None, {"epochs": [50]}, ())
    space = command.space(problem.decided)
    assert space.compared == ("builtin", "scratch")
    assert [parameter.field for parameter in space.parameters] == ["core"]
    for core in space.compared:
        fields = homework(core) | {"epochs": 50}
        config = WorldModelConfig(**fields)  # pyright: ignore[reportArgumentType]
        assert space.baseline(core) == config
        problem.check(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"free_steps": 8}, "free_steps is 8: the homework's loop has 0 and no other"),
        ({"core": "transformer"}, "core is transformer: .* has builtin or scratch and no other"),
    ],
)
def test_what_the_loop_would_not_heed_is_refused(
    problem: LoopProblem, changes: dict[str, object], message: str
) -> None:
    fields = homework("builtin") | changes
    with pytest.raises(InputError, match=message):
        problem.check(WorldModelConfig(**fields))  # pyright: ignore[reportArgumentType]
