"""The world model's task: windows, the loss, and the number that trials are compared by."""

import pickle
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from moving_stripes import striped_drives
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.errors import InputError
from datasets.recordings import Recordings
from trainables import driving
from trainables.driving import (
    DrivingTask,
    Windows,
    check_movement,
    judged_horizon,
    window_predictions,
)
from trainables.frame_baselines import baseline_errors, mean_frame, persistence_error
from trainables.models.world_model import Weighting, WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT, autoregressive, frame_mse, freeze, teacher_forced

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives()


def config_of(**changes: Any) -> WorldModelConfig:
    small = {
        "hidden": 16,
        "sequence_length": 8,
        "context": 3,
        "free_steps": 4,
        "dreams": 4,
    }
    return WorldModelConfig(**{**small, **changes})


def windows(config: WorldModelConfig, drives: Drives, epoch: int = 1) -> Windows:
    task = DrivingTask(drives, config, CPU)
    order = torch.Generator().manual_seed(0)
    return next(task.training_batches(model_of(config), order, epoch))


def model_of(config: WorldModelConfig) -> nn.Module:
    """With a decoder that is not fresh: that one draws the same whatever it is told."""
    torch.manual_seed(0)
    model = WorldModel(config, 32)
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model


def test_an_epoch_predicts_as_many_frames_as_the_train_split_has(drives: Drives) -> None:
    config = config_of(batch_size=5)
    task = DrivingTask(drives, config, CPU)
    batches = list(task.training_batches(model_of(config), torch.Generator().manual_seed(0), 1))
    assert len(batches) == task.steps_per_epoch()
    assert [batch.frames.shape for batch in batches] == [(5, 9, 3, 32, 32)] * len(batches)
    dreams = [batch.free_run.dreams for batch in batches if batch.free_run is not None]
    assert [len(each) for each in dreams] == [4] * len(batches)
    predicted = len(batches) * (5 * 8 + 4 * 4)
    assert predicted == task.predictions_per_epoch()
    frames = 40 * len(drives.split.train)
    assert frames <= predicted < frames + config.predictions


def test_windows_are_pieces_of_training_episodes_with_their_actions(drives: Drives) -> None:
    recordings = drives.recordings
    batch = windows(config_of(batch_size=64), drives)
    places = {frame.tobytes(): place for place, frame in enumerate(recordings.frames)}
    for frames, actions in zip(batch.frames, batch.actions, strict=True):
        pixels = (frames * 255).round().to(torch.uint8).numpy()
        first = places[pixels[0].tobytes()]
        np.testing.assert_array_equal(pixels, recordings.frames[first : first + 9])
        np.testing.assert_array_equal(actions, recordings.actions[first : first + 8])
        assert first // 40 in drives.split.train
        assert first // 40 == (first + 8) // 40


def test_batches_tell_how_far_scheduled_sampling_has_come(drives: Drives) -> None:
    config = config_of(epochs=4, sampling_rate=1.0, sampling_schedule="linear")
    task = DrivingTask(drives, config, CPU)
    generator = torch.Generator().manual_seed(0)
    epochs = [task.training_batches(task.model(), generator, epoch) for epoch in (1, 2, 3, 4)]
    rates = [batch.rate for batches in epochs for batch in batches]
    assert rates[0] is None
    found = [0.0 if rate is None else float(rate) for rate in rates]
    steps = 4 * task.steps_per_epoch()
    np.testing.assert_allclose(found, np.arange(steps) / steps, rtol=1e-6)


def test_a_window_longer_than_every_episode_is_refused(drives: Drives) -> None:
    with pytest.raises(InputError, match=r"windows of 41 frames, the longest .* episode has 40"):
        DrivingTask(drives, config_of(sequence_length=40), CPU)
    DrivingTask(drives, config_of(sequence_length=39), CPU)


def test_without_sampling_a_window_is_teacher_forced(drives: Drives) -> None:
    config = config_of()
    batch, model = windows(config, drives), model_of(config)
    found = window_predictions(model, batch, config)
    torch.testing.assert_close(found, teacher_forced(model, batch.frames, batch.actions, 1))


def test_a_sampling_rate_of_one_is_free_after_the_context(drives: Drives) -> None:
    config = config_of(sampling_rate=1.0, sampling_schedule="constant")
    batch, model = windows(config, drives), model_of(config)
    free = autoregressive(model, batch.frames[:, :3], batch.actions, 6)
    torch.testing.assert_close(window_predictions(model, batch, config)[:, 2:], free)


def test_the_sampling_rate_is_the_share_of_steps_that_see_a_prediction(drives: Drives) -> None:
    """Where nothing moves, a model that adds a hundredth tells, by its pixels, whether it saw its
    own prediction. 64 windows of 29 steps: three standard deviations are 0.03."""

    class Adds(nn.Module):
        def forward(
            self,
            frames: Tensor,
            actions: Tensor,
            state: Tensor | None = None,
            age: Tensor | None = None,
        ) -> tuple[Tensor, None]:
            if age is not None:  # the prediction before tells how many steps it is old
                torch.testing.assert_close(frames[..., 0, 0, 0] - dark, 0.01 * age)
            return frames + 0.01, None

    config = config_of(
        sequence_length=32, free_steps=0, sampling_rate=0.6, sampling_schedule="linear"
    )
    one = windows(config, drives)
    frames = (one.frames[:1, :1] / 2).expand(64, 33, -1, -1, -1)
    dark = float(frames[0, 0, 0, 0, 0])
    batch = Windows(frames, one.actions[:1].expand(64, -1, -1), rate=torch.tensor(0.3))
    torch.manual_seed(0)
    found = window_predictions(Adds(), batch, config)
    seen = found[:, 3:] - frames[:, 3:-1]
    own = seen[:, 1:].mean(dim=(2, 3, 4)) > 0.015
    assert float(own.float().mean()) == pytest.approx(0.3, abs=0.03)


def test_gradients_flow_back_through_the_steps_of_a_dream(drives: Drives) -> None:
    """The last free prediction depends on all actions of the dream."""
    config = config_of(free_steps=6)
    batch, model = windows(config, drives), model_of(config)
    assert batch.free_run is not None
    actions = batch.free_run.actions.clone().requires_grad_()
    replace(batch.free_run, actions=actions).predicted(model)[:, -1].sum().backward()
    assert actions.grad is not None
    assert (actions.grad.abs().sum(dim=(0, 2)) > 0).tolist() == [True] * 6


class Copies(nn.Module):
    """Predicts the frame that it sees."""

    def forward(
        self,
        frames: Tensor,
        actions: Tensor,
        state: Tensor | None = None,
        age: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        return frames, ()


def test_noise_is_in_what_the_model_sees_and_not_in_the_target(drives: Drives) -> None:
    config = config_of(noise=0.05, free_steps=0)
    batch = windows(config, drives)
    seen = window_predictions(Copies(), batch, config) - batch.frames[:, :-1]
    assert float(seen.std()) == pytest.approx(0.05, rel=0.02)


def test_the_loss_of_copying_is_about_one(drives: Drives) -> None:
    """With each step as a share of the error of keeping the last true frame for as long."""
    config = config_of(batch_size=256, dreams=256)
    task = DrivingTask(drives, config, CPU)
    train = drives.recordings
    last = task.dream_starts + CONTEXT - 1
    task.scale, _ = baseline_errors(train, last, task.mean_frame, task.horizon)
    batch = next(task.training_batches(Copies(), torch.Generator().manual_seed(0), 1))
    loss = task.loss(Copies(), batch)
    assert float(loss) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_the_loss_is_the_weighted_mean_of_the_errors_of_all_scored_steps(
    drives: Drives, weighting: Weighting
) -> None:
    """Three windows and two dreams: 3 x 5 steps that see the truth, 2 x 4 that dream."""
    config = config_of(weighting=weighting, batch_size=3, dreams=2, one_step_weight=3.0)
    batch, model = windows(config, drives), model_of(config)
    run = batch.free_run
    assert run is not None
    train = drives.split.train
    copied = persistence_error(drives.recordings, train)
    starts = drives.recordings.window_starts(train, 40, 50) + CONTEXT - 1
    frozen, climate = baseline_errors(
        drives.recordings, torch.from_numpy(starts), mean_frame(drives.recordings, train), 30
    )
    better = torch.minimum(frozen, climate)
    assert 0 < (better == climate).sum() < 30
    scale = {"equal": torch.full((30,), copied), "baseline": better}[weighting]
    one_step = frame_mse(window_predictions(model, batch, config)[:, 3:], batch.frames[:, 4:9])
    ages = run.dreams.age.long().tolist()
    shares = torch.stack([scale[age : age + 4] for age in ages])
    free = frame_mse(run.predicted(model), run.truth) / shares
    expected = (3 * one_step.sum() / copied + free.sum()) / (3 * 15 + 8)
    loss = DrivingTask(drives, config, CPU).loss(model, batch)
    torch.testing.assert_close(loss, expected)


def test_drives_that_begin_with_a_picture_at_rest_leave_the_loss_finite() -> None:
    drives = striped_drives()
    frames = drives.recordings.frames.copy()
    for begin in drives.recordings.offsets[:-1]:
        frames[begin : begin + CONTEXT + 3] = frames[begin]
    resting = replace(drives, recordings=replace(drives.recordings, frames=frames))
    task = DrivingTask(resting, config_of(dreams=64), CPU)
    assert float(task.scale[0]) == pytest.approx(0.01 * task.one_step_scale)
    batch = next(task.training_batches(model_of(task.config), torch.Generator().manual_seed(0), 1))
    assert bool(torch.isfinite(task.loss(model_of(task.config), batch)))


@pytest.mark.parametrize("fields", [{"dreams": 0}, {"free_steps": 0}])
def test_without_dreams_there_are_windows_alone(drives: Drives, fields: dict[str, int]) -> None:
    batch = windows(config_of(**fields), drives)
    assert batch.free_run is None
    assert batch.frames.shape == (8, 9, 3, 32, 32)


def test_the_heaviest_batch_dreams(drives: Drives) -> None:
    config = config_of(epochs=4, sampling_rate=0.5)
    task = DrivingTask(drives, config, CPU)
    batch = task.heaviest_batch(task.model())
    assert batch.free_run is not None
    assert (len(batch.free_run.dreams), batch.frames.shape[1]) == (4, 9)
    assert batch.rate == 0.5


def test_free_steps_beyond_what_is_judged_are_refused(drives: Drives) -> None:
    config = config_of(sequence_length=4, context=1, free_steps=31)
    with pytest.raises(InputError, match="free_steps is 31, and dreams are judged over 30"):
        DrivingTask(drives, config, CPU)
    DrivingTask(drives, replace(config, dreams=0), CPU)
    DrivingTask(drives, replace(config, free_steps=30), CPU)


def test_long_dreams_begin_where_training_episodes_would_be_judged() -> None:
    """Every 50 frames, as far as all 150 that are judged follow."""
    drives = striped_drives(episodes=10, length=270)
    task = DrivingTask(drives, config_of(), CPU)
    assert task.horizon == 150
    begins = drives.recordings.offsets[drives.split.train]
    expected = [int(begin) + later for begin in begins for later in (0, 50, 100)]
    assert task.dream_starts.tolist() == expected


def test_evaluation_is_the_rollouts_of_the_validation_windows(
    drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 frames: a context of 10, a horizon of 30, one window an episode."""
    config = config_of()
    task, model = DrivingTask(drives, config, CPU), model_of(config).eval()
    model.requires_grad_(requires_grad=False)
    found = task.evaluate(model)
    rows = [np.arange(40 * e, 40 * e + 40) for e in drives.split.validation]
    frames = torch.from_numpy(drives.recordings.frames[rows]).float() / 255
    actions = torch.from_numpy(drives.recordings.actions[rows])
    truth = frames[:, CONTEXT:]
    free = frame_mse(autoregressive(model, frames[:, :CONTEXT], actions, 30), truth).mean()
    forced = frame_mse(teacher_forced(model, frames, actions, CONTEXT), truth).mean()
    copied = frame_mse(frames[:, CONTEXT - 1 : -1], truth).mean()
    train = [np.arange(40 * e, 40 * e + 40) for e in drives.split.train]
    mean = torch.from_numpy(drives.recordings.frames[train]).double().mean(dim=(0, 1)) / 255
    still = frame_mse(freeze(frames, CONTEXT), truth).mean(dim=0)
    best = torch.minimum(still, frame_mse(mean.float(), truth).mean(dim=0)).mean()
    one_step, dream = 1 - float(forced / copied), 1 - float(free / best)
    assert found["validation/autoregressive_mse"] == pytest.approx(float(free), rel=1e-5)
    assert found["validation/one_step_skill"] == pytest.approx(one_step, rel=1e-5)
    assert found["validation/dream_skill"] == pytest.approx(dream, rel=1e-5)
    assert found["validation/skill"] == pytest.approx((one_step + dream) / 2, rel=1e-5)
    assert found["validation/mse"] == pytest.approx(float(forced), rel=1e-5)
    assert found["validation/persistence_ratio"] == pytest.approx(float(forced / copied), rel=1e-5)
    monkeypatch.setattr(driving, "TOGETHER", 1)
    for name, value in DrivingTask(drives, config, CPU).evaluate(model).items():
        assert value == pytest.approx(found[name], rel=1e-5), name


def test_no_field_of_the_configuration_moves_the_objective(drives: Drives) -> None:
    """The same model is judged the same, whatever it was trained with."""
    model = model_of(config_of()).eval().requires_grad_(requires_grad=False)
    expected = DrivingTask(drives, config_of(), CPU).evaluate(model)
    for changes in (
        {"sequence_length": 20},
        {"free_steps": 0},
        {"context": 0},
        {"noise": 0.1},
        {"weighting": "equal"},
        {"dreams": 2},
        {"sampling_rate": 1.0},
        {"batch_size": 32},
    ):
        found = DrivingTask(drives, config_of(**changes), CPU).evaluate(model)
        assert found == expected, changes


def cut(length_of: dict[int, int]) -> Drives:
    """Fifteen episodes of 40 frames, of which some are cut to fewer."""
    whole = striped_drives(15)
    lengths = [length_of.get(episode, 40) for episode in range(15)]
    columns = ("frames", "actions", "rewards", "ends")
    episodes = [
        replace(
            whole.recordings,
            **{
                name: getattr(whole.recordings, name)[40 * episode : 40 * episode + length]
                for name in columns
            },
            offsets=np.array([0, length]),
        )
        for episode, length in enumerate(lengths)
    ]
    return replace(whole, recordings=Recordings.of(episodes), digest="cut")


def test_one_short_episode_does_not_shorten_what_trials_are_compared_by() -> None:
    """One of each part is cut to 13 frames."""
    split = striped_drives(15).split
    short = {int(part[0]) for part in (split.train, split.validation, split.test)}
    data = cut(dict.fromkeys(short, 13))
    task = DrivingTask(data, config_of(), CPU)
    assert task.horizon == 30
    begins = {int(data.recordings.offsets[e]) for e in split.validation if e not in short}
    assert set(task.judged["validation"].tolist()) == begins
    long = [int(data.recordings.offsets[e]) for e in split.train if e not in short]
    assert task.judged["train"].tolist() == long[: driving.FEW]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_horizon_is_what_the_episodes_of_each_part_hold(part: str) -> None:
    """Else a champion would be chosen that the test split can never judge."""
    episodes = getattr(striped_drives(15).split, part).tolist()
    data = cut(dict.fromkeys(episodes, 13) | dict.fromkeys(episodes[1:], 25))
    assert judged_horizon(data) == 15


def test_two_test_episodes_are_judged_at_least() -> None:
    """One alone compares nothing."""
    episodes = striped_drives(15).split.test.tolist()
    assert judged_horizon(cut(dict.fromkeys(episodes[1:], 20))) == 10


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("validation", "frames of the validation episodes do not change where roll"),
        ("test", "frames of the test episodes do not change .* the 30 after 10"),
    ],
)
def test_drives_that_stand_still_where_models_are_judged_are_refused(part: str, said: str) -> None:
    """The error of keeping a frame is zero there, and nothing is a share of that."""
    data = striped_drives()
    check_movement(data)
    frames = data.recordings.frames.copy()
    for episode in getattr(data.split, part):
        own = frames[40 * episode : 40 * episode + 40]
        own[9:] = own[9]
    with pytest.raises(InputError, match=said):
        check_movement(replace(data, recordings=replace(data.recordings, frames=frames)))


def test_a_task_on_the_cpu_shares_the_memory_of_the_drives(drives: Drives) -> None:
    task = DrivingTask(drives, config_of(), CPU)
    assert np.shares_memory(task.frames.numpy(), drives.recordings.frames)
    assert np.shares_memory(task.actions.numpy(), drives.recordings.actions)


def test_drives_are_sent_to_a_trial_without_a_copy(drives: Drives) -> None:
    """As Ray sends them: the arrays out of band."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(drives, protocol=5, buffer_callback=buffers.append)
    back = pickle.loads(pickled, buffers=buffers)
    for name in ("frames", "actions"):
        found, sent = getattr(back.recordings, name), getattr(drives.recordings, name)
        assert np.shares_memory(found, sent), name
    assert len(pickled) < 2_000
