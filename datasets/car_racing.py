"""Records episodes of Gymnasium's CarRacing-v3, driven by simple programs.

Each episode has its own track and driver noise, both drawn from its seed: the same seed gives the
same bytes. The car stands still at first. The simulator starts with a camera zoom, which is not
recorded.

Source: Klimov, CarRacing, in Gymnasium 1.4 (https://gymnasium.farama.org/environments/box2d).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from datasets.parallel import ParallelMap
from datasets.recordings import Recordings

DriverName = Literal["pursuit", "random", "mix"]

Drawing = Literal["arrays", "gymnasium"]
"""Who draws the frames: `datasets.drawn_car_racing`, without a dashboard, or Gymnasium."""

VERSION = 1
"""Version of the recorded data, part of the file's name in the cache; to be raised when drivers or
frames change."""

ZOOM_SECONDS = 1.0
"""Simulator time when the initial zoom is over, in seconds; only the camera reads the clock."""

STEERING, THROTTLE, BRAKE = range(3)
"""Indices of the components of an action."""


@dataclass(frozen=True)
class Drive:
    """Instructions for recording one episode.

    Attributes:
        driver: ``pursuit`` or ``random``.
        seed: Seed of the track and of the driver.
        steps: Largest number of frames.
        size: Side of a recorded frame, in pixels.
        drawing: Who draws the frames.
    """

    driver: str
    seed: int
    steps: int
    size: int
    drawing: Drawing


def record(
    driver: DriverName,
    episodes: int,
    steps: int,
    size: int,
    drawing: Drawing,
    seed: int,
    parallel: ParallelMap,
) -> Recordings:
    """Records episodes.

    Args:
        driver: ``pursuit`` follows the track, ``random`` ignores it; ``mix`` alternates the two.
        episodes: Number of episodes; episode e has seed ``seed + e``.
        steps: Frames per episode; fewer if the car leaves the field or completes its lap.
        size: Side of a recorded frame, in pixels; frames are averaged down to it, the 84 x 96
            pixels of ``arrays`` more across than down.
        drawing: Who draws the frames: ``arrays`` or ``gymnasium``.
        seed: Seed of the first episode, at least 0.
        parallel: Maps the recording over the episodes.
    """
    names = ("pursuit", "random") if driver == "mix" else (driver,)
    drives = [
        Drive(names[episode % len(names)], seed + episode, steps, size, drawing)
        for episode in range(episodes)
    ]
    return Recordings.of(list(parallel(record_episodes, drives)))


def record_episodes(drive: Drive) -> Recordings:
    """Records one episode. The progress bar over all episodes shows this function's name."""
    env = SIMULATORS[drive.drawing]()
    try:
        return _drive(env, drive)
    finally:
        env.close()


def _drawn() -> Any:
    from datasets.drawn_car_racing import DrawnCarRacing  # imports Gymnasium, see below

    return DrawnCarRacing()


def _gymnasium() -> Any:
    import gymnasium  # slow to import with pygame, and needed for recording only

    return gymnasium.make("CarRacing-v3", render_mode=None, max_episode_steps=-1)


SIMULATORS: dict[Drawing, Callable[[], Any]] = {"arrays": _drawn, "gymnasium": _gymnasium}
"""Who draws the frames -> makes the simulator."""


def _drive(env: Any, drive: Drive) -> Recordings:
    env.reset(seed=drive.seed)
    simulator = env.unwrapped
    simulator.t = ZOOM_SECONDS
    frame = simulator.step(None)[0]
    act = DRIVERS[drive.driver](simulator, np.random.default_rng(drive.seed))
    rows, columns = (area_means(pixels, drive.size) for pixels in frame.shape[:2])
    frames, actions, rewards, end = [], [], [], False
    while len(frames) < drive.steps and not end:
        action = act()
        frames.append(downsampled(frame, rows, columns))
        actions.append(action)
        frame, reward, end, _, _ = env.step(action)
        rewards.append(reward)
    ends = np.zeros(len(frames), bool)
    ends[-1] = end
    return Recordings(
        frames=np.stack(frames),
        actions=np.stack(actions),
        rewards=np.array(rewards, np.float32),
        ends=ends,
        offsets=np.array([0, len(frames)]),
    )


def area_means(pixels: int, size: int) -> np.ndarray:
    """Returns the matrix that averages a line of `pixels` pixels down to `size` pixels.

    Its shape is (size, pixels), float64. A source pixel on the border of two areas counts for each
    in proportion to its overlap.
    """
    edges = np.linspace(0, pixels, size + 1)
    places = np.arange(pixels)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return covered.clip(min=0) * size / pixels


def downsampled(frame: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Downsamples a frame by area means: (height, width, 3) uint8 -> (3, size, size) uint8.

    Args:
        frame: The simulator's frame.
        rows: (size, height), from `area_means`.
        columns: (size, width), from `area_means`.
    """
    means = np.einsum("ip,jq,pqc->cij", rows, columns, frame, optimize=True)
    return np.rint(means).astype(np.uint8)


class CorrelatedNoise:
    """Temporally correlated noise: an Ornstein-Uhlenbeck process of standard deviation 1.

    Args:
        generator: The random generator.
        steps: Correlation time in steps, after which the correlation has fallen to 1/e.
        size: Number of independent processes.
    """

    def __init__(self, generator: np.random.Generator, steps: float, size: int) -> None:
        self.generator = generator
        self.kept = math.exp(-1 / steps)
        self.value = generator.standard_normal(size)

    def step(self) -> np.ndarray:
        fresh = self.generator.standard_normal(len(self.value))
        self.value = self.kept * self.value + math.sqrt(1 - self.kept**2) * fresh
        return self.value


class Pursuit:
    """A driver that steers towards a point ahead on the centre line, with noise on its actions.

    It simplifies pure pursuit (Coulter 1992): steering is proportional to the angle to the point.
    The noise is correlated, so that frames off the centre line are recorded too.

    Args:
        simulator: The CarRacing environment, after its reset.
        generator: Draws the noise and the cruising speed.
    """

    LOOKAHEAD = 5
    """Distance of the point from the nearest one, in track points, which are about 3.5 simulator
    units apart."""

    CRUISE = (50.0, 90.0)
    """Range of an episode's target speed on a straight, in simulator units per second."""

    GAIN = 1.0
    """Steering per radian of angle to the point."""

    PEDAL = 0.05
    """Throttle, or brake, per simulator unit per second of deviation from the target speed."""

    CAUTION = 1.5
    """Reduction of speed in bends: the target speed is divided by 1 + CAUTION * angle ahead, in
    radians."""

    TREMBLE = (0.2, 0.1)
    """Standard deviations of the noise on steering and pedals."""

    MEMORY = 10.0
    """Correlation time of the noise, in steps."""

    def __init__(self, simulator: Any, generator: np.random.Generator) -> None:
        self.car = simulator.car
        self.middle = np.array([(x, y) for _, _, x, y in simulator.track])
        self.noise = CorrelatedNoise(generator, self.MEMORY, 2)
        self.cruise = generator.uniform(*self.CRUISE)

    def __call__(self) -> np.ndarray:
        hull = self.car.hull
        position = np.array([hull.position.x, hull.position.y])
        nearest = int(((self.middle - position) ** 2).sum(axis=1).argmin())
        off = self._angle_to(nearest + self.LOOKAHEAD, position)
        bend = abs(self._angle_to(nearest + 2 * self.LOOKAHEAD, position))
        speed = math.hypot(hull.linearVelocity.x, hull.linearVelocity.y)
        pedal = self.PEDAL * (self.cruise / (1 + self.CAUTION * bend) - speed)
        tremble = self.noise.step() * self.TREMBLE
        return _action(-self.GAIN * off + tremble[0], pedal + tremble[1])

    def _angle_to(self, point: int, position: np.ndarray) -> float:
        """Returns the angle from the car's heading to a track point, in radians, positive to the
        left."""
        ahead = self.middle[point % len(self.middle)] - position
        heading = self.car.hull.angle + math.pi / 2
        angle = math.atan2(ahead[1], ahead[0]) - heading
        return math.remainder(angle, 2 * math.pi)


class Wander:
    """A driver with smooth random actions, which ignores the track."""

    MEMORY = 20.0
    """Correlation time of the noise, in steps."""

    SPREAD = (0.4, 0.3)
    """Standard deviations of steering and pedals."""

    FORWARD = 0.2
    """Mean of the pedal: without it the car would hardly move."""

    def __init__(self, simulator: Any, generator: np.random.Generator) -> None:
        del simulator
        self.noise = CorrelatedNoise(generator, self.MEMORY, 2)

    def __call__(self) -> np.ndarray:
        steering, pedal = self.noise.step() * self.SPREAD
        return _action(steering, self.FORWARD + pedal)


def _action(steering: float, pedal: float) -> np.ndarray:
    """Returns an action, (3,) float32, clipped to the valid range.

    Args:
        steering: Steering, positive to the right.
        pedal: Throttle if positive, brake if negative.
    """
    action = np.zeros(3, np.float32)
    action[STEERING] = np.clip(steering, -1, 1)
    action[THROTTLE] = np.clip(pedal, 0, 1)
    action[BRAKE] = np.clip(-pedal, 0, 1)
    return action


DRIVERS: dict[str, Callable[[Any, np.random.Generator], Callable[[], np.ndarray]]] = {
    "pursuit": Pursuit,
    "random": Wander,
}
"""Name of a driver -> its class: made from the environment and a random generator, an instance
returns the next action when called."""
