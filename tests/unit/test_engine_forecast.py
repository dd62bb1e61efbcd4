"""What the pre-flight tries, the forecast, and what is refused before a study starts."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import trainables.fit
from datasets.errors import InputError
from datasets.sources import MoleculeSet
from datasets.stores import Batch
from engine.forecast import Forecast, profiled_configurations
from engine.space import Space
from trainables.device import memory_gib
from trainables.fit import SupervisedProblem
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeTask
from trainables.profile import ProfileResult, profile

CPU = torch.device("cpu")
SPACE = Space.of(GNNConfig, "family", {"family": ["gcn", "gat"], "epochs": [10]})


def forecast(**changed: Any) -> Forecast:
    """Of invented profiles: 1, 2 and 4 seconds an epoch, 1, 2 and 4 GiB, 1 MiB."""
    profiled = dict(zip(profiled_configurations(SPACE), (1, 1, 2, 2, 4, 4), strict=True))
    known = {
        "profiled": {c: ProfileResult(s, float(s), 2**20) for c, s in profiled.items()},
        "trials": 12,
        "finals": 0,
        "concurrent": 2,
        "keep": 3,
        "memory": 8.0,
    }
    return Forecast(SPACE, **{**known, **changed})


def test_what_is_profiled_are_the_smallest_the_default_and_the_largest_of_each_group() -> None:
    found = [
        (c.family, c.width, c.depth, c.heads) for c in cast(Any, profiled_configurations(SPACE))
    ]
    assert found == [
        ("gcn", 32, 2, 2),
        ("gat", 32, 2, 1),
        ("gcn", 64, 3, 2),
        ("gat", 64, 3, 2),
        ("gcn", 128, 6, 2),
        ("gat", 128, 6, 4),
    ]


class Clocked(MoleculeTask):
    """Moves the clock by 3 seconds for a batch and by 5 for an evaluation, and stands for 17
    batches an epoch."""

    now = 0.0

    def steps_per_epoch(self) -> int:
        return 17

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        Clocked.now += 3
        return super().loss(model, batch)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        Clocked.now += 5
        return super().evaluate(model)


def test_a_profile_says_what_an_epoch_takes(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(perf_counter=lambda: Clocked.now)
    monkeypatch.setattr(trainables.fit, "time", clock)
    config = GNNConfig(width=32, depth=2, batch_size=32)
    done = profile(config, SupervisedProblem(partial(Clocked, molecules), ""), cpus=1, gpus=0)
    assert done.problem == ""
    assert done.epoch_seconds == 17 * 3 + 5
    assert done.memory_gib == pytest.approx(memory_gib(CPU), rel=0.1)
    weights = sum(w.numel() for w in MoleculeTask(molecules, config, CPU).model().parameters())
    three_times = 3 * 4 * weights  # weights and both moments of the optimiser, in float32
    assert three_times < done.checkpoint_bytes < three_times + 2**16


def test_a_profile_that_fails_says_why() -> None:
    def no_room(config: Any, device: torch.device) -> Any:
        return torch.empty(2**50)

    done = profile(GNNConfig(), SupervisedProblem(no_room, ""), cpus=1, gpus=0)
    assert done.no_room
    assert "can't allocate memory" in done.problem


def test_the_forecast_counts_trials_epochs_and_slots() -> None:
    said = forecast().text()
    assert said.startswith("forecast: 12 trials of 10 epochs, 2 at a time: 2 min as the default")
    assert "60 s to 4 min by size" in said
    kept = 3 + 2 * 2 + 3 * 2  # the best, what the analyses look at, what runs
    assert forecast().bytes() == kept * 2**20 + 12 * 10 * 3000
    assert "\n" not in said


def test_a_slot_that_is_left_over_takes_a_round_of_its_own() -> None:
    assert forecast(trials=13).hours("default") == pytest.approx(
        forecast(trials=14).hours("default")
    )


def test_the_forecast_names_what_will_not_fit() -> None:
    known = forecast().profiled
    largest = profiled_configurations(SPACE)[-1]
    oom_retries = forecast(memory=3.0).text()
    assert "the largest gat takes 4.0 GiB, there are 3.0 for a trial" in oom_retries
    failing = {**known, largest: ProfileResult(problem="CUDA out of memory", no_room=True)}
    assert (
        "the largest gat cannot be trained: CUDA out of memory"
        in forecast(profiled=failing).text()
    )


def test_a_study_that_cannot_be_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = dict.fromkeys(
        profiled_configurations(SPACE), ProfileResult(problem="ValueError: planted")
    )
    with pytest.raises(
        InputError, match="not even the smallest configuration can be trained: ValueError"
    ):
        forecast(profiled=failing).check_trainable()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(InputError, match=r"may take 13 MiB in .*, where 1 are free"):
        forecast().check_disk(tmp_path)
