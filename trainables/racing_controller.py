"""The problem of the controller study: drive a car by what it sees, by parameters of CMA-ES.

A trial has three phases, as in Ha and Schmidhuber 2018 (https://worldmodels.github.io): epochs in
which the vision learns to see the frames of recorded drives as codes, epochs in which a memory
learns to predict the next code, and generations of CMA-ES, which searches a linear controller of
code and memory. Trials that see and remember alike share vision and memory.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from datasets.cache import Cache
from datasets.driving import Drives
from datasets.files import written_whole
from datasets.parallel import ParallelMap
from datasets.racing import LAP, STEPS, AtRandom, Drive, Rules, StraightOn, drive, pursue
from record.trial import Role
from trainables.controller_config import ControllerConfig
from trainables.dreaming import Dream
from trainables.evolution import Evolution
from trainables.learner import Probe, Snapshot
from trainables.perception import VERSION as PERCEPTION
from trainables.perception import fresh_memory, fresh_vision, trained_memory, trained_vision
from trainables.problem import Context, Problem
from trainables.sights import of_a_drive
from trainables.steering import TOGETHER, Controllers, Senses, driven

VALIDATION = range(100_000, 100_016)
"""Seeds of the tracks by which trials are compared."""

TEST = range(200_000, 200_016)
"""Seeds of the tracks on which the finals are scored."""

FURTHER = range(300_000, 300_100)
"""Seeds of the tracks on which the champion alone is scored, with Gymnasium's own drawing."""

TRAINING = 1_000_000
"""Least seed of the tracks of generations."""

PATIENCE = 100
"""Steps without a new tile after which a drive of a candidate is cut off."""

LOST = 250
"""Steps without a new tile after which a drive on a validation track is cut off and counts as if
no further tile had been reached; those on test tracks never are."""

PROBED = 40
"""Steps of the drives by which the duration of a generation is estimated."""

RANDOM, STRAIGHT, PURSUIT = "random actions", "straight on", "driver that sees the track"
"""Names of the policies that learn nothing."""

POLICIES: Mapping[str, Callable[[Sequence[int], Rules], list[Drive]]] = {
    RANDOM: partial(drive, AtRandom()),
    STRAIGHT: partial(drive, StraightOn()),
    PURSUIT: pursue,
}
"""Name of a policy that learns nothing -> drives with it."""

BASELINES = 1
"""Version of their drives, part of the cache's name."""


class ControllerLearner:
    """The `trainables.learner.Learner` of a controller.

    Args:
        config: Hyperparameters.
        drives: Recorded drives, from which vision and memory learn.
        cache: Where vision and memory are kept for other trials.
        before: Return that is reported while there is no controller.
        context: Device of vision and memory in training, and the map over which drives are spread.
    """

    def __init__(
        self,
        config: ControllerConfig,
        drives: Drives,
        cache: Cache,
        before: float,
        context: Context,
    ) -> None:
        self.config, self.drives, self.cache = config, drives, cache
        self.before, self.context = before, context
        vision = fresh_vision(config.seeing, drives.recordings.size)
        self.senses = Senses(vision, fresh_memory(config.remembering, config.code))
        self.search = Evolution(
            self.senses.parameters, config.sigma, config.population, config.seed
        )
        self.dream: Dream | None = None
        self.steps = 0
        self.phase = ""
        self.history: list[dict[str, float]] = []

    @property
    def rules(self) -> Rules:
        """How the drives of evaluation are driven."""
        return Rules(self.drives.recordings.size, repeat=self.config.action_repeat)

    def advance(self, epoch: int) -> dict[str, float]:
        """Passes an epoch of the vision or the memory, or a generation.

        All epochs of a vision, or of a memory, are trained in the first one, unless another trial
        did it before.

        Raises:
            Diverged: If vision or memory cannot be trained.
        """
        seen, remembered = self.config.vision_epochs, self.config.memory_epochs
        if epoch <= seen:
            return self._trained("vision", epoch)
        if epoch <= seen + remembered:
            return self._trained("memory", epoch - seen)
        return self._generation(epoch - seen - remembered)

    def _trained(self, phase: str, epoch: int) -> dict[str, float]:
        """Passes an epoch, counted from 1, of the phase that trains vision or memory."""
        begun = time.perf_counter()
        if self.phase != phase:
            self.history = self._train(phase)
            self.phase = phase
        row = self.history[epoch - 1] if self.history else {}
        seconds = time.perf_counter() - begun
        return {**row, "validation/return": self.before, "train/seconds": seconds}

    def _train(self, phase: str) -> list[dict[str, float]]:
        """Trains vision or memory, or takes what the cache has; returns the metrics by epoch."""
        config, drives, cache = self.config, self.drives, self.cache
        device, senses = self.context.device, self.senses
        if phase == "vision":
            found = trained_vision(config.seeing, drives, cache, device)
            senses.vision.load_state_dict(found.weights)
            return found.history
        if senses.memory is None or config.memory == "untrained":
            return []
        vision = deepcopy(senses.vision).to(device)
        found = trained_memory(config.remembering, config.seeing, vision, drives, cache, device)
        senses.memory.load_state_dict(found.weights)
        return found.history

    def _generation(self, number: int) -> dict[str, float]:
        """Drives with the candidates of a generation, counted from 1, and with the new mean."""
        begun = time.perf_counter()
        candidates = self.search.ask()
        seeds = training_seeds(self.config.seed, number, self.config.rollouts)
        weights = np.repeat(candidates, len(seeds), axis=0)
        found = self._dreamed(weights, seeds) if self.dreams else self._driven(weights, seeds)
        values = found.reshape(len(candidates), -1).mean(axis=1)
        self.search.tell(values)
        seconds = time.perf_counter() - begun
        judged = self.judged(VALIDATION, replace(self.rules, patience=LOST))
        return {
            "validation/return": float(np.mean([each.total_to_the_end for each in judged])),
            "validation/tiles": float(np.mean([each.tiles for each in judged])),
            "train/return": float(values.mean()),
            "train/best_return": float(values.max()),
            "train/step_size": self.search.step_size,
            "train/environment_steps": float(self.steps),
            "train/seconds": seconds,
        }

    def _driven(self, weights: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Returns the returns of candidates in the simulator, each on all tracks in turn."""
        rules = replace(self.rules, patience=PATIENCE)
        tracks = seeds * (len(weights) // len(seeds))
        found = driven(self.senses, weights, tracks, rules, self.context.parallel)
        self.steps += sum(each.steps for each in found)
        return returns(found)

    def _dreamed(self, weights: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Returns the returns of candidates in what the memory dreams, each from all beginnings in
        turn."""
        config = self.config
        if self.dream is None:
            self.dream = Dream(self.senses, self.drives, config.action_repeat, config.temperature)
        places = np.random.default_rng(seeds).random(len(seeds))
        return self.dream.returns(weights, np.tile(places, len(weights) // len(seeds)), seeds[0])

    @property
    def dreams(self) -> bool:
        """Whether candidates drive in what the memory dreams."""
        return self.config.learn_in == "dream" and self.config.memory == "trained"

    def judged(self, seeds: Sequence[int], rules: Rules) -> list[Drive]:
        """Drives with the mean of the candidates, one car from each seed."""
        mean = np.tile(self.search.mean, (len(seeds), 1))
        return driven(self.senses, mean, list(seeds), rules, self.context.parallel)

    def snapshot(self) -> Snapshot:
        """Copies vision, memory and search into a snapshot."""
        memory = {} if self.senses.memory is None else self.senses.memory.state_dict()
        model = {
            "vision": deepcopy(dict(self.senses.vision.state_dict())),
            "memory": deepcopy(dict(memory)),
            "controller": torch.from_numpy(self.search.mean.copy()),
        }
        return Snapshot(model, {"search": self.search.state(), "steps": self.steps})

    def restore(self, snapshot: Snapshot) -> None:
        """Restores vision, memory and search from a snapshot."""
        self.senses, self.dream = restored(self.senses, snapshot.model), None
        self.search.restore(snapshot.training["search"])
        self.steps = snapshot.training["steps"]

    def probe(self) -> Probe:
        """Estimates the duration of a generation from short drives with an untrained vision, as if
        a drive took half of its steps until it is cut off."""
        config, cars = self.config, min(TOGETHER, self.config.population)
        seeds, rules = training_seeds(config.seed, 1, cars), replace(self.rules, steps=PROBED)
        weights = np.zeros((cars, self.senses.parameters))
        driven(self.senses, weights, seeds, rules)
        begun = time.perf_counter()
        driven(self.senses, weights, seeds, rules)
        a_step = (time.perf_counter() - begun) / (cars * PROBED)
        drives = len(VALIDATION) + config.population * config.rollouts * (not self.dreams)
        return Probe(a_step * drives * STEPS / 2 / self.context.cores, self.snapshot())


def restored(senses: Senses, model: Mapping[str, Any]) -> Senses:
    """Loads the weights of a snapshot into a vision and a memory, and returns them."""
    senses.vision.load_state_dict(model["vision"])
    if senses.memory is not None:
        senses.memory.load_state_dict(model["memory"])
    return senses


def training_seeds(seed: int, generation: int, count: int) -> list[int]:
    """Returns the seeds of the tracks of a generation, which no evaluation drives on."""
    drawn = np.random.SeedSequence([seed, generation]).generate_state(count)
    return [TRAINING + int(each) % (2**31 - TRAINING) for each in drawn]


def returns(drives: Sequence[Drive]) -> np.ndarray:
    """Returns the return of each drive, (drives,) float64."""
    return np.array([each.total for each in drives])


class ControllerProblem(Problem[ControllerConfig]):
    """The `trainables.problem.Problem` of driving a car by what it sees.

    Args:
        drives: Recorded drives, from which vision and memory learn.
        cache: Where vision and memory are kept.
        parallel: Maps over the policies that learn nothing.

    Attributes:
        baselines: Name of a policy that learns nothing -> its returns on the test tracks.
        facts: Number of frames and episodes that vision and memory learn from, of tracks, and mean
            returns on the test tracks of the policies that learn nothing.
    """

    def __init__(self, drives: Drives, cache: Cache, parallel: ParallelMap = map) -> None:
        self.drives = drives
        self.cache = cache
        both = baseline_returns(cache, parallel)
        self.baselines = {name: found[len(VALIDATION) :] for name, found in both.items()}
        self.before = float(both[RANDOM][: len(VALIDATION)].mean())
        self.facts: Mapping[str, Any] = {
            "frames": len(drives.recordings.frames),
            "pixels": drives.recordings.size,
            "episodes": len(drives.recordings),
            "validation": len(VALIDATION),
            "test": len(TEST),
            **{
                f"{name.replace(' ', '_')}_return": round(float(found.mean()), 1)
                for name, found in self.baselines.items()
            },
        }

    @property
    def digest(self) -> str:
        """Fingerprint of the recorded drives, the simulator, the tracks of evaluation, and the
        version of the trainings of vision and memory."""
        simulator = gymnasium.__version__, version("box2d"), STEPS, PATIENCE, LOST, LAP
        parts = self.drives.digest, simulator, [*VALIDATION], [*TEST], PERCEPTION
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def learner(self, config: ControllerConfig, role: Role, context: Context) -> ControllerLearner:
        """Makes the learner of one trial; see `trainables.problem.Problem`."""
        del role
        return ControllerLearner(config, self.drives, self.cache, self.before, context)

    def restored(self, config: ControllerConfig, model: Mapping[str, Any]) -> "Driver":
        """Makes what drives of a trained trial, from its weights."""
        vision = fresh_vision(config.seeing, self.drives.recordings.size)
        fresh = Senses(vision, fresh_memory(config.remembering, config.code))
        rules = Rules(self.drives.recordings.size, repeat=config.action_repeat)
        return Driver(restored(fresh, model), model["controller"].numpy(), rules)


@dataclass(frozen=True)
class Driver:
    """A controller and what it drives by.

    Attributes:
        senses: Vision and memory.
        weights: Parameters of the controller.
        rules: How it drives where it is evaluated.
    """

    senses: Senses
    weights: np.ndarray
    rules: Rules

    def drives(self, seeds: Sequence[int], parallel: ParallelMap = map) -> list[Drive]:
        """Drives one car from each seed."""
        weights = np.tile(self.weights, (len(seeds), 1))
        return driven(self.senses, weights, list(seeds), self.rules, parallel)

    def watched(self, seed: int, dreams: bool) -> dict[str, np.ndarray]:
        """Drives one car and returns what it saw; see `trainables.sights.of_a_drive`."""
        policy = Controllers(self.senses, self.weights[None])
        return of_a_drive(policy, self.senses, seed, self.rules, dreams)


def baseline_returns(cache: Cache, parallel: ParallelMap = map) -> dict[str, np.ndarray]:
    """Returns the returns on the validation tracks and then the test tracks of policies that learn
    nothing, by name; from the cache or newly driven."""

    def make(path: Path) -> None:
        found = list(parallel(driven_without_learning, [*POLICIES]))
        with written_whole(path) as beside, beside.open("wb") as file:
            np.save(file, np.stack(found))

    path = cache.get(f"racing-baselines-{gymnasium.__version__}-v{BASELINES}.npy", make)
    return dict(zip(POLICIES, np.load(path), strict=True))


def driven_without_learning(name: str) -> np.ndarray:
    """Drives on the validation tracks and then the test tracks by a policy that learns nothing;
    returns the returns."""
    return returns(POLICIES[name]([*VALIDATION, *TEST], Rules(0)))
