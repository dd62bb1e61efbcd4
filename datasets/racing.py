"""Drives a car on tracks of CarRacing-v3 by what a policy sees, many tracks at once.

A drive is scored by its return: 1,000 shared among the tiles of the track for those that the car
reaches, less 0.1 for each step, and -100 in the step that leaves the field. Three things differ
from Gymnasium's environment:

- A lap ends the drive where the car is back on the first tile after more than 95 % of all. In
  Gymnasium 1.4 that never happens, because the first tile counts as visited from the beginning and
  the check is made at first visits only, so that a car that misses a tile drives on and pays for
  it (Gymnasium issue 1269).
- The camera's zoom at the beginning is left out, as in the recorded drives.
- The policy sees the 84 rows above the dashboard, on which the score stands as a number.

Sources: Klimov, CarRacing, in Gymnasium 1.4 (https://gymnasium.farama.org/environments/box2d);
Ha and Schmidhuber 2018, World Models (https://worldmodels.github.io).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from datasets.car_racing import DRIVERS, SIMULATORS, ZOOM_SECONDS, Drawing, area_means
from datasets.recordings import ACTIONS, CHANNELS

SEEN_ROWS = 84
"""Rows of a frame above the dashboard."""

LAP = 0.95
"""Share of the tiles after which a car that is back on the first one has finished its lap."""

STEPS = 1000
"""Steps after which Gymnasium cuts a drive off."""

COST = 0.1
"""What each step takes from the return."""


class Policy(Protocol):
    """Chooses the actions of several cars from what they see."""

    def begin(self, cars: int) -> None:
        """Forgets what was seen; so many cars stand at the start of their tracks."""
        ...

    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        """Chooses the next action of some cars.

        Args:
            frames: What they see, (n, 3, size, size) uint8.
            cars: Their numbers, (n,), ascending; cars whose drive is over are left out.

        Returns:
            (n, 3) float32: steering from -1, left, to 1, right; throttle and brake from 0 to 1.
        """
        ...


@dataclass(frozen=True)
class Rules:
    """How drives are driven.

    Attributes:
        size: Side of a frame that the policy sees, in pixels; 0: it sees nothing.
        steps: Steps after which a drive is cut off.
        repeat: Steps that each action is kept up for.
        patience: Steps without a new tile after which a drive is cut off; 0: it never is.
        drawing: Who draws the frames.
    """

    size: int
    steps: int = STEPS
    repeat: int = 1
    patience: int = 0
    drawing: Drawing = "arrays"


@dataclass(frozen=True)
class Drive:
    """What came of a drive.

    Attributes:
        total: Its return.
        steps: Steps of the simulator that it took.
        tiles: Share of the track's tiles that the car reached.
        stalled: Whether it was cut off because the car reached no new tile for so long.
    """

    total: float
    steps: int
    tiles: float
    stalled: bool = False

    @property
    def total_to_the_end(self) -> float:
        """Its return; of one that stalled, as if it had gone on until `STEPS` without a further
        tile."""
        return self.total - COST * (STEPS - self.steps) * self.stalled


class Car:
    """A car on one track.

    Args:
        rules: How drives are driven.
        seed: Seed of the track.

    Attributes:
        frame: What the policy sees, (3, size, size) uint8.
        over: Whether the drive is over.
    """

    def __init__(self, rules: Rules, seed: int) -> None:
        self.rules = rules
        self.environment = SIMULATORS[rules.drawing]()
        self.simulator: Any = self.environment.unwrapped
        self.environment.reset(seed=seed)
        self.simulator.t = ZOOM_SECONDS
        picture = self.simulator.step(None)[0]
        if rules.size:
            self.means = [area_means(n, rules.size) for n in (SEEN_ROWS, picture.shape[1])]
        self.frame = self._seen(picture)
        self.total, self.steps, self.waited = 0.0, 0, 0
        self.over, self.stalled = False, False

    def drive(self, action: np.ndarray) -> None:
        """Keeps an action, (3,), up for some steps, or until the drive is over."""
        picture = None
        for step in range(self.rules.repeat):
            is_last = step == self.rules.repeat - 1 or self.steps + 1 == self.rules.steps
            if self.rules.drawing == "arrays":
                self.simulator.draws = is_last and self.rules.size > 0
            before = self.simulator.tile_visited_count
            picture, reward, terminated, _, _ = self.simulator.step(action)
            self.total += float(reward)
            self.steps += 1
            self.waited = 0 if self.simulator.tile_visited_count > before else self.waited + 1
            self.over = terminated or self._is_to_end()
            if self.over:
                return
        self.frame = self._seen(picture)

    def _is_to_end(self) -> bool:
        if self.steps >= self.rules.steps:
            return True
        if 0 < self.rules.patience <= self.waited:
            self.stalled = True
            return True
        if self.reached <= LAP:
            return False
        wheels = self.simulator.car.wheels
        return any(tile.idx == 0 for wheel in wheels for tile in wheel.tiles)

    @property
    def reached(self) -> float:
        """Share of the track's tiles that the car has reached."""
        return self.simulator.tile_visited_count / len(self.simulator.track)

    def _seen(self, picture: Any) -> np.ndarray:
        """Averages the rows above the dashboard down to a frame."""
        if not self.rules.size:
            return np.empty((CHANNELS, 0, 0), np.uint8)
        rows, columns = self.means
        across = columns @ picture[:SEEN_ROWS].astype(np.float64)  # (rows, size, 3)
        means = np.tensordot(rows, across, axes=(1, 0))  # (size, size, 3)
        return np.rint(means).astype(np.uint8).transpose(2, 0, 1)

    def result(self) -> Drive:
        """Returns what came of the drive so far."""
        return Drive(self.total, self.steps, self.reached, self.stalled)

    def close(self) -> None:
        """Frees the simulator."""
        self.environment.close()


def drive(policy: Policy, seeds: Sequence[int], rules: Rules) -> list[Drive]:
    """Drives one car from each seed, all at once, so that the policy sees them in one batch."""
    cars = [Car(rules, seed) for seed in seeds]
    policy.begin(len(cars))
    running = np.arange(len(cars))
    while len(running):
        actions = policy.act(np.stack([cars[n].frame for n in running]), running)
        for n, action in zip(running.tolist(), actions, strict=True):
            cars[n].drive(action)
        running = running[[not cars[n].over for n in running]]
    results = [car.result() for car in cars]
    for car in cars:
        car.close()
    return results


class AtRandom:
    """A policy that draws each action uniformly.

    Args:
        seed: Of the actions.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def begin(self, cars: int) -> None:
        """Draws as from the beginning."""
        del cars
        self.generator = np.random.default_rng(self.seed)

    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        """Draws the next actions; see `Policy`."""
        del frames
        drawn = self.generator.uniform(-1, 1, (len(cars), ACTIONS))
        return np.where([True, False, False], drawn, np.abs(drawn)).astype(np.float32)


class StraightOn:
    """A policy that never steers and holds a light throttle."""

    def begin(self, cars: int) -> None:
        """Has nothing to forget."""

    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        """Returns the same action again; see `Policy`."""
        del frames
        return np.tile(np.array([0.0, 0.1, 0.0], np.float32), (len(cars), 1))


def pursue(seeds: Sequence[int], rules: Rules) -> list[Drive]:
    """Drives cars by the program that sees where the track is, `datasets.car_racing.Pursuit`."""
    results = []
    for seed in seeds:
        car = Car(rules, seed)
        act = DRIVERS["pursuit"](car.simulator, np.random.default_rng(seed))
        while not car.over:
            car.drive(act())
        results.append(car.result())
        car.close()
    return results
