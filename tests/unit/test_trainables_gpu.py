"""The path of a GPU, on a pretended one (see `pretended_gpu`), and on a real one where there is
one."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import torch
from contracts import SomeGPU, metrics, save, waits_of_a_step, where_it_was_left
from family_contracts import KEYS
from moving_stripes import striped_drives
from pretended_gpu import CPU, GPU
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.graphs import GraphBatch
from datasets.sources import MoleculeSet
from trainables import checkpoint, driving
from trainables.config import FitConfig
from trainables.driving import DrivingTask
from trainables.fit import Epoch, SupervisedLearner, TaskFactory, fit
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import Core, WarpDecoder, WorldModelConfig
from trainables.molecules import MoleculeTask

CORES = get_args(Core)

WORLD_MODEL = WorldModelConfig(
    hidden=16,
    sequence_length=8,
    context=2,
    free_steps=3,
    sampling_rate=0.5,
    noise=0.1,
    averaging=0.5,
    batch_size=4,
    epochs=3,
)


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives(length=45, size=16)


def gnn(family: str, **changes: Any) -> GNNConfig:
    return replace(GNNConfig(family=family, width=8, batch_size=32, epochs=3), **changes)


def with_a_forgotten_device(task: DrivingTask, starts: Tensor, frames: int):
    places = starts[:, None] + torch.arange(frames)
    return driving.Windows(task.frames[places].float() / 255, task.actions[places[:, :-1]])


def test_a_tensor_that_is_made_on_the_cpu_is_caught(
    drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrivingTask, "_cut", with_a_forgotten_device)
    with pytest.raises(AssertionError, match="add"):
        waits_of_a_step(partial(DrivingTask, drives), WORLD_MODEL, monkeypatch)


def test_a_look_at_a_number_is_caught(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = MoleculeTask.loss

    def looking(task: MoleculeTask, model: nn.Module, batch: GraphBatch) -> Tensor:
        found = loss(task, model, batch)
        assert found.item() > 0
        return found

    monkeypatch.setattr(MoleculeTask, "loss", looking)
    waits = waits_of_a_step(partial(MoleculeTask, molecules), gnn("gcn"), monkeypatch)
    assert [wait.partition(" ")[0] for wait in waits] == ["item"]


def trained(task: Any, config: FitConfig, device: torch.device) -> SupervisedLearner[Any]:
    """A learner after one step."""
    learner = SupervisedLearner(task, config, device)
    learner._step(next(task.training_batches(learner.model, learner.order, 1)))
    return learner


def outside_of(learner: SupervisedLearner[Any]) -> list[str]:
    """The parameters whose memory is not that of the vector that the optimiser changes."""
    vector = learner.weights.vector.untyped_storage().data_ptr()
    named = learner.model.named_parameters()
    return [name for name, p in named if p.untyped_storage().data_ptr() != vector]


@pytest.mark.parametrize("core", CORES)
def test_all_weights_lie_in_the_vector(core: Core, drives: Drives, a_gpu: SomeGPU) -> None:
    config = replace(WORLD_MODEL, core=core, layers=2)
    with a_gpu():
        learner = trained(DrivingTask(drives, config, GPU), config, GPU)
        assert outside_of(learner) == []
        assert learner.average is not None
        # What cuDNN's own function would do.
        weight = next(iter(learner.model.parameters()))
        weight.data = weight.data.clone()
        assert len(outside_of(learner)) == 1


@pytest.mark.parametrize("layers", [1, 2])
def test_the_lstm_lies_where_cudnn_looks_for_it(
    layers: int, drives: Drives, a_gpu: SomeGPU
) -> None:
    """All weights by layer, then all biases, from the beginning of the memory and without gaps."""
    config = replace(WORLD_MODEL, layers=layers)
    with a_gpu():
        learner = trained(DrivingTask(drives, config, GPU), config, GPU)
        assert learner.average is not None
        for model in (learner.model, learner.average.model):
            core = model.get_submodule("core")
            expected = [
                getattr(core, f"{kind}_{of}_l{layer}")
                for kind in ("weight", "bias")
                for layer in range(layers)
                for of in ("ih", "hh")
            ]
            assert expected[0].storage_offset() == 0
            for one, other in pairwise(expected):
                assert other.storage_offset() == one.storage_offset() + one.numel()


def epochs(
    make_task: TaskFactory, config: FitConfig, device: torch.device, folder: Path | None = None
) -> list[Epoch]:
    """All epochs of a fit, each saved; those that are left, if the folder has a checkpoint."""
    left: dict[str, Any] = {}
    if folder is not None and (folder / checkpoint.FILE).exists():
        left = where_it_was_left(folder)
    done = []
    for epoch in fit(make_task(config, device), config, device, **left):
        done.append(epoch)
        if folder is not None:
            save(folder, epoch, config)
            break
    return done


@pytest.mark.parametrize("order", [(CPU, GPU, CPU), (GPU, CPU, GPU)], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    "config",
    [replace(WORLD_MODEL, core=core, layers=2, noise=0.0, sampling_rate=0.0) for core in CORES]
    + [gnn(family, averaging=0.5, normalization="batch") for family in KEYS],
    ids=lambda config: config.title,
)
def test_a_fit_goes_on_where_another_device_left_it(
    config: FitConfig,
    order: tuple[torch.device, ...],
    drives: Drives,
    molecules: MoleculeSet,
    tmp_path: Path,
    a_gpu: SomeGPU,
) -> None:
    """Three epochs on devices in turn equal those of one, but for the order of sums."""
    make_task: TaskFactory = partial(MoleculeTask, molecules)
    if isinstance(config, WorldModelConfig):
        make_task = partial(DrivingTask, drives)
    undisturbed = epochs(make_task, config, CPU)
    found: list[Epoch] = []
    for device in order:
        if device == CPU:
            found += epochs(make_task, config, CPU, tmp_path)
            continue
        with a_gpu() as gpu:
            found += epochs(make_task, config, GPU, tmp_path)
        assert not gpu.mixed, gpu.mixed
    assert [epoch.number for epoch in found] == [1, 2, 3]
    for one, other in zip(found, undisturbed, strict=True):
        assert metrics(one) == pytest.approx(metrics(other), rel=5e-3, abs=1e-4)


def test_training_notices_that_cudnn_took_the_weights_away(drives: Drives, a_gpu: SomeGPU) -> None:
    """What `nn.LSTM.flatten_parameters` does where there is cuDNN: training would do nothing."""
    with a_gpu():
        learner = trained(DrivingTask(drives, WORLD_MODEL, GPU), WORLD_MODEL, GPU)
        core = learner.model.get_submodule("core")
        for parameter in core.parameters():
            parameter.data = parameter.data.clone()
        with pytest.raises(RuntimeError, match="has left the vector"):
            learner.advance(1)


class Watched(DrivingTask):
    """Notes which batches are trained on, by what scheduled sampling has come to, and each
    evaluation."""

    noted: ClassVar[list[str]]

    def loss(self, model: nn.Module, batch: driving.Windows) -> Tensor:
        rate = 0.0 if batch.rate is None else float(batch.rate)
        self.noted.append(f"step at {rate:.2f}")
        return super().loss(model, batch)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.noted.append("evaluation")
        return super().evaluate(model)


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
def test_a_probe_begins_with_the_heaviest_batch_and_evaluates_warm(
    device: torch.device, drives: Drives, a_gpu: SomeGPU
) -> None:
    Watched.noted = noted = []
    on_a_gpu = device == GPU
    with a_gpu() if on_a_gpu else nullcontext():
        SupervisedLearner(Watched(drives, WORLD_MODEL, device), WORLD_MODEL, device).probe()
    assert noted[0] == "step at 0.50"
    assert len([each for each in noted if each.startswith("step")]) == (5 if on_a_gpu else 3)
    assert noted.count("evaluation") == (2 if on_a_gpu else 1)


def test_frames_are_moved_with_all_digits_in_half_precision() -> None:
    """A place that is rounded to 8 bits is off by up to a tenth of a pixel."""
    torch.manual_seed(0)
    decoder = WarpDecoder(16, 32)
    nn.init.normal_(decoder.motion.weight, std=0.1)
    hidden, last = torch.randn(4, 16), torch.rand(4, 3, 32, 32)
    motion = decoder.motion(hidden)
    decoder.register_module(
        "motion", nn.Identity()
    )  # what half precision makes of the layer is not looked at
    exact = decoder._moved(motion, last)
    with torch.autocast("cpu", torch.bfloat16):
        moved = decoder._moved(motion, last)
    torch.testing.assert_close(moved, exact, rtol=0, atol=1e-5)
