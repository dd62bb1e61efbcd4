"""Records drives in Gymnasium's CarRacing-v3, without a person at the wheel.

An episode has a track and a driver of its own, both drawn from its seed: the same seed gives the
same bytes. The car stands still at first. The simulator opens with a camera zoom, of which no
frame is recorded.

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

VERSION = 1
"""Of what is recorded: a change of drivers or frames makes another data set."""

PIXELS = 96
"""Side of the simulator's frames."""

ZOOM_SECONDS = 1.0
"""Of the simulator's clock, which only the camera reads: then the opening zoom is over."""

STEERING, THROTTLE, BRAKE = range(3)


@dataclass(frozen=True)
class Drive:
    """What to record in one episode.

    Attributes:
        driver: ``pursuit`` or ``random``.
        seed: Of the track and of the driver.
        steps: Frames.
        size: Pixels on a side.
    """

    driver: str
    seed: int
    steps: int
    size: int


def record(
    driver: DriverName, episodes: int, steps: int, size: int, seed: int, parallel: ParallelMap
) -> Recordings:
    """Records episodes.

    Args:
        driver: ``pursuit`` follows the track, ``random`` does not look at it; ``mix``: every other
            episode.
        episodes: How many; episode e has seed ``seed + e``.
        steps: Frames of each; fewer where the car leaves the field or ends its lap.
        size: Pixels on a side of a frame, at most those of the simulator.
        seed: At least 0.
        parallel: Records an episode a call.

    """
    names = ("pursuit", "random") if driver == "mix" else (driver,)
    drives = [
        Drive(names[episode % len(names)], seed + episode, steps, size)
        for episode in range(episodes)
    ]
    return Recordings.of(list(parallel(record_episodes, drives)))


def record_episodes(drive: Drive) -> Recordings:
    """Records one episode; its name is what the progress of all of them is shown under."""
    import gymnasium  # with pygame it takes a second, which only who records needs

    env = gymnasium.make("CarRacing-v3", render_mode=None, max_episode_steps=-1)
    try:
        return _drive(env, drive)
    finally:
        env.close()


def _drive(env: Any, drive: Drive) -> Recordings:
    env.reset(seed=drive.seed)
    simulator = env.unwrapped
    simulator.t = ZOOM_SECONDS
    frame = simulator.step(None)[0]
    act = DRIVERS[drive.driver](simulator, np.random.default_rng(drive.seed))
    shrink = area_means(PIXELS, drive.size)
    frames, actions, rewards, end = [], [], [], False
    while len(frames) < drive.steps and not end:
        action = act()
        frames.append(downsampled(frame, shrink))
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
    """The matrix that makes ``size`` pixels of a line of ``pixels``, each the mean of its area.

    Shape (size, pixels), float64; a pixel that two areas share counts for each with its share.
    """
    edges = np.linspace(0, pixels, size + 1)
    places = np.arange(pixels)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return covered.clip(min=0) * size / pixels


def downsampled(frame: np.ndarray, shrink: np.ndarray) -> np.ndarray:
    """(pixels, pixels, 3) uint8 -> (3, size, size) uint8, by the mean over each pixel's area."""
    means = np.einsum("ip,jq,pqc->cij", shrink, shrink, frame, optimize=True)
    return np.rint(means).astype(np.uint8)


class CorrelatedNoise:
    """An Ornstein-Uhlenbeck process of standard deviation 1: noise with a memory.

    Args:
        generator: Where it draws from.
        steps: Of the memory: after so many the correlation is 1/e.
        size: How many independent ones.
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
    """Steers towards a point of the track's middle ahead of the car, with a trembling hand.

    Pure pursuit (Coulter 1992): the steering angle is that of the arc through the point. The
    tremble is correlated noise, so that frames off the middle of the road are recorded too.

    Args:
        simulator: CarRacing, reset.
        generator: Seeds the noise.
    """

    LOOKAHEAD = 5
    """Points of the track, about 3.5 units apart, ahead of the nearest one."""

    CRUISE = (50.0, 90.0)
    """Range of the speed that a drive keeps on a straight, in the simulator's units a second."""

    GAIN = 1.0
    """Steering per radian off the point."""

    PEDAL = 0.05
    """Throttle, or brake, per unit a second off the wanted speed."""

    CAUTION = 1.5
    """How much a bend ahead, in radians, divides the wanted speed."""

    TREMBLE = (0.2, 0.1)
    """Standard deviations of the noise on steering and pedals."""

    MEMORY = 10.0
    """Steps of the noise."""

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
        """Radians from where the car heads to a point of the track, to the left positive."""
        ahead = self.middle[point % len(self.middle)] - position
        heading = self.car.hull.angle + math.pi / 2
        angle = math.atan2(ahead[1], ahead[0]) - heading
        return math.remainder(angle, 2 * math.pi)


class Wander:
    """Smooth random actions that know nothing of the track."""

    MEMORY = 20.0
    """Steps of the noise."""

    SPREAD = (0.4, 0.3)
    """Standard deviations of steering and pedals."""

    FORWARD = 0.2
    """Mean of the pedals: without it the car would hardly leave its place."""

    def __init__(self, simulator: Any, generator: np.random.Generator) -> None:
        del simulator
        self.noise = CorrelatedNoise(generator, self.MEMORY, 2)

    def __call__(self) -> np.ndarray:
        steering, pedal = self.noise.step() * self.SPREAD
        return _action(steering, self.FORWARD + pedal)


def _action(steering: float, pedal: float) -> np.ndarray:
    """(3,) float32 from steering, right positive, and one pedal: throttle, or brake below 0."""
    action = np.zeros(3, np.float32)
    action[STEERING] = np.clip(steering, -1, 1)
    action[THROTTLE] = np.clip(pedal, 0, 1)
    action[BRAKE] = np.clip(-pedal, 0, 1)
    return action


DRIVERS: dict[str, Callable[[Any, np.random.Generator], Callable[[], np.ndarray]]] = {
    "pursuit": Pursuit,
    "random": Wander,
}
