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
from trainables.dreams import dreamt
from trainables.driving import (
    DrivingTask,
    Windows,
    check_movement,
    fed_with_truth,
    judged_horizon,
)
from trainables.frame_baselines import baseline_errors, mean_frame
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
        "replay": 0.5,
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


def test_an_epoch_has_as_many_windows_as_hold_the_train_split_once(drives: Drives) -> None:
    config = config_of(batch_size=5)
    task = DrivingTask(drives, config, CPU)
    batches = list(task.training_batches(model_of(config), torch.Generator().manual_seed(0), 1))
    assert len(batches) == task.steps_per_epoch()
    frames = 40 * len(drives.split.train)
    held = sum(len(batch.frames) for batch in batches) * (config.steps + 1)
    assert frames <= held < frames + config.steps + 1
    assert [batch.frames.shape[1:] for batch in batches] == [(13, 3, 32, 32)] * len(batches)


def test_windows_are_pieces_of_training_episodes_with_their_actions(drives: Drives) -> None:
    recordings = drives.recordings
    batch = windows(config_of(batch_size=64), drives)
    places = {frame.tobytes(): place for place, frame in enumerate(recordings.frames)}
    for frames, actions in zip(batch.frames, batch.actions, strict=True):
        pixels = (frames * 255).round().to(torch.uint8).numpy()
        first = places[pixels[0].tobytes()]
        np.testing.assert_array_equal(pixels, recordings.frames[first : first + 13])
        np.testing.assert_array_equal(actions, recordings.actions[first : first + 12])
        assert first // 40 in drives.split.train
        assert first // 40 == (first + 12) // 40


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
        DrivingTask(drives, config_of(sequence_length=30, free_steps=10), CPU)
    DrivingTask(drives, config_of(sequence_length=30, free_steps=9), CPU)


def test_without_sampling_a_window_is_teacher_forced_and_then_dreams(drives: Drives) -> None:
    config = config_of(replay=0.0)
    batch, model = windows(config, drives), model_of(config)
    found, state, age = fed_with_truth(model, batch, config)
    torch.testing.assert_close(found, teacher_forced(model, batch.frames[:, :9], batch.actions, 1))
    dreams = DrivingTask(drives, config, CPU)._dreams(batch, found, state, age)
    assert dreams is not None
    assert len(dreams) == batch.dreams == config.dreams
    assert torch.equal(dreams.truth, batch.frames[:4, 9:])
    free = autoregressive(model, batch.frames[:4, :8], batch.actions[:4], 5)
    torch.testing.assert_close(dreamt(model, dreams), free[:, 1:])


def test_a_sampling_rate_of_one_is_free_after_the_context(drives: Drives) -> None:
    config = config_of(sampling_rate=1.0, sampling_schedule="constant")
    batch, model = windows(config, drives), model_of(config)
    free = autoregressive(model, batch.frames[:, :3], batch.actions, 6)
    found, _, age = fed_with_truth(model, batch, config)
    torch.testing.assert_close(found[:, 2:], free)
    assert age.tolist() == [6.0] * len(batch.frames)


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
    frames = (one.frames[:1, :1] / 2).expand(64, config.steps + 1, -1, -1, -1)
    dark = float(frames[0, 0, 0, 0, 0])
    batch = Windows(frames, one.actions[:1].expand(64, -1, -1), rate=torch.tensor(0.3))
    torch.manual_seed(0)
    found, _, age = fed_with_truth(Adds(), batch, config)
    seen = found[:, 3:] - frames[:, 3:-1]
    own = seen[:, 1:].mean(dim=(2, 3, 4)) > 0.015
    assert float(own.float().mean()) == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(found[:, -1, 0, 0, 0] - dark, 0.01 * age)


def test_gradients_flow_back_through_the_steps_of_a_dream(drives: Drives) -> None:
    """The last free prediction depends on what the model saw at first."""
    config = config_of(free_steps=6, replay=0.0)
    batch, model = windows(config, drives), model_of(config)
    batch = replace(batch, frames=batch.frames.clone().requires_grad_())
    dreams = DrivingTask(drives, config, CPU)._dreams(batch, *fed_with_truth(model, batch, config))
    assert dreams is not None
    dreamt(model, dreams)[:, -1].sum().backward()
    assert batch.frames.grad is not None
    seen = batch.frames.grad.abs().sum(dim=(0, 2, 3, 4)) > 0
    assert seen.tolist() == [True] * 8 + [False] * 7


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
    seen = fed_with_truth(Copies(), batch, config)[0] - batch.frames[:, :-1]
    assert float(seen.std()) == pytest.approx(0.05, rel=0.02)


def test_the_loss_of_copying_is_about_one(drives: Drives) -> None:
    """With every step as a share of the error of keeping the last true frame for as long, up to
    which windows are drawn."""
    config = config_of(weighting="freeze", batch_size=256, dreams=256, replay=0.0)
    loss = DrivingTask(drives, config, CPU).loss(Copies(), windows(config, drives))
    assert float(loss) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_the_loss_is_the_weighted_mean_of_the_errors_of_all_scored_steps(
    drives: Drives, weighting: Weighting
) -> None:
    """Three windows and a replayed dream: 3 x 5 steps that see the truth, 2 x 4 that dream."""
    config = config_of(weighting=weighting, batch_size=3, dreams=2, one_step_weight=3.0)
    batch, model = windows(config, drives), model_of(config)
    assert batch.replayed is not None
    assert (batch.dreams, len(batch.replayed)) == (1, 1)
    train = drives.split.train
    frozen, climate = baseline_errors(
        drives.recordings, train, mean_frame(drives.recordings, train), 39
    )
    scale = {
        "equal": frozen[:1].expand(39),
        "freeze": frozen,
        "baseline": torch.minimum(frozen, climate),
    }[weighting]
    assert 0 < (scale == climate).sum() < 39 or weighting != "baseline"
    forced, _, _ = fed_with_truth(model, batch, config)
    one_step = frame_mse(forced[:, 3:], batch.frames[:, 4:9]) / frozen[0]
    free = autoregressive(model, batch.frames[:1, :8], batch.actions[:1], 5)[:, 1:]
    old = int(batch.replayed.age[0])
    errors = torch.cat(
        [
            frame_mse(free, batch.frames[:1, 9:]),
            frame_mse(dreamt(model, batch.replayed), batch.replayed.truth),
        ]
    )
    shares = torch.stack([scale[1:5], scale[old : old + 4]])
    free = errors / shares
    expected = (3 * one_step.sum() + free.sum()) / (3 * 15 + 8)
    loss = DrivingTask(drives, config, CPU).loss(model, batch)
    torch.testing.assert_close(loss, expected)


def test_the_first_epochs_have_no_dreams(drives: Drives) -> None:
    config = config_of(one_step_first=0.5, epochs=4)
    for epoch, dreams in ((1, 0), (2, 0), (3, 2), (4, 2)):
        batch = windows(config, drives, epoch)
        assert batch.dreams == dreams
        assert (batch.replayed is None) == (not dreams)
        assert batch.frames.shape[1] == (13 if dreams else 9)


@pytest.mark.parametrize(("replay", "own", "long"), [(0.0, 4, 0), (0.5, 2, 2), (1.0, 0, 4)])
def test_the_dreams_of_a_step_are_shared_between_windows_and_long_dreams(
    drives: Drives, replay: float, own: int, long: int
) -> None:
    batch = windows(config_of(replay=replay), drives)
    assert batch.dreams == own
    assert (0 if batch.replayed is None else len(batch.replayed)) == long


def test_the_heaviest_batch_dreams(drives: Drives) -> None:
    config = config_of(one_step_first=0.5, epochs=4, sampling_rate=0.5)
    task = DrivingTask(drives, config, CPU)
    batch = task.heaviest_batch(task.model())
    assert (batch.dreams, batch.frames.shape[1]) == (2, 13)
    assert batch.rate == 0.5


def test_episodes_too_short_for_a_replayed_dream_are_refused(drives: Drives) -> None:
    config = config_of(sequence_length=4, context=1, free_steps=30)
    with pytest.raises(InputError, match="30, in dreams of 30 frames: choose fewer, longer"):
        DrivingTask(drives, config, CPU)
    DrivingTask(drives, replace(config, replay=0.0), CPU)
    DrivingTask(drives, replace(config, free_steps=29), CPU)


def test_long_dreams_begin_where_training_episodes_would_be_judged() -> None:
    """Every 50 frames, as far as all 150 that are judged follow."""
    drives = striped_drives(episodes=10, length=270)
    task = DrivingTask(drives, config_of(), CPU)
    assert task.horizon == 150
    begins = drives.recordings.offsets[drives.split.train]
    expected = [int(begin) + later for begin in begins for later in (0, 50, 100)]
    assert task.long.tolist() == expected


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
        {"replay": 1.0},
        {"dreams": 2},
        {"one_step_first": 0.5},
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
    ("part", "still", "said"),
    [
        ("validation", slice(9, 40), "frames of the validation episodes do not change where roll"),
        ("test", slice(9, 40), "frames of the test episodes do not change .* the 30 after 10"),
        (
            "train",
            slice(0, 40),
            "hardly a frame of the train episodes differs from",
        ),
    ],
)
def test_drives_that_stand_still_where_models_are_judged_are_refused(
    part: str, still: slice, said: str
) -> None:
    """The error of keeping a frame is zero there, and nothing is a share of that."""
    data = striped_drives()
    check_movement(data)
    frames = data.recordings.frames.copy()
    for episode in getattr(data.split, part):
        own = frames[40 * episode : 40 * episode + 40]
        own[still] = own[still.start]
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
