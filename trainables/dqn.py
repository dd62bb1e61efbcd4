"""Deep Q-learning: learns the value of each action from transitions that are kept and replayed.

Sources: Mnih et al. 2015 (replay, target network), van Hasselt et al. 2016 (double DQN), Sutton
1988 (returns over several steps), Polyak and Juditsky 1992 (averaged weights).

An epoch is 1,000 steps of the environment. It begins with a fresh environment, seeded by the
trial's seed and the epoch's number, so that a trial can be resumed although an environment cannot
be saved. The episode that the end of an epoch cuts off counts as truncated: its value is
bootstrapped, and its return is not reported.
"""

import time
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol, get_args

import gymnasium as gym
import numpy as np
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from datasets.errors import InputError
from trainables.config import TrialConfig, When, at_least, one_of
from trainables.fit import Average
from trainables.flat import FlatParameters
from trainables.learner import Diverged, Probe, Snapshot
from trainables.replay import Experience, NStepReturns, Replay, Transitions

EPOCH = 1000
"""Steps of the environment in an epoch."""

SOLVED = 0.95
"""Share of the highest possible return from which on a task counts as solved."""

LEAST_TRAINING_SEED = 2**20
"""Seeds of training episodes are not below it; those of evaluation are."""

PROBED = 100
"""Number of environment steps, and of updates, by which an epoch's duration is estimated."""

Algorithm = Literal["dqn", "double_dqn"]
Exploration = Literal["linear", "per_episode"]
Schedule = Literal["constant", "linear"]


@dataclass(frozen=True)
class DQNConfig(TrialConfig):
    """Hyperparameters of deep Q-learning."""

    algorithm: Annotated[Algorithm, CategoricalDistribution(get_args(Algorithm))] = "double_dqn"
    """Value of the next state: the target network's greatest (dqn), or the target network's value
    of the action that the online network prefers (double_dqn)."""

    learning_rate: Annotated[float, FloatDistribution(5e-4, 2e-2, log=True)] = 3e-3
    """Step size of Adam at the beginning."""

    schedule: Annotated[Schedule, CategoricalDistribution(get_args(Schedule))] = "linear"
    """Learning-rate schedule: constant, or falling linearly to 0."""

    decay_steps: Annotated[int, IntDistribution(5_000, 25_000), When("schedule", ("linear",))] = (
        15_000
    )
    """Number of environment steps after which a falling learning rate is 0; from then on the
    online network stays as it is, and the averaged one approaches it."""

    discount_gap: Annotated[float, FloatDistribution(1e-3, 1e-1, log=True)] = 0.01
    """1 - gamma, where gamma is the factor by which a reward counts less for each step that it
    lies in the future."""

    n_step: Annotated[int, IntDistribution(1, 10)] = 8
    """Number of rewards that are summed before the value of a later state stands for the rest."""

    batch_size: Annotated[int, IntDistribution(32, 256, log=True)] = 256
    """Number of transitions in one update."""

    replay_size: Annotated[int, IntDistribution(1_000, 50_000, log=True)] = 10_000
    """Number of transitions that are kept; later ones replace the oldest."""

    updates_per_step: Annotated[float, FloatDistribution(1 / 64, 2.0, log=True)] = 1.0
    """Number of updates for each step of the environment."""

    target_every: Annotated[int, IntDistribution(1, 1_000, log=True)] = 250
    """Number of environment steps between two copies of the online network into the target
    network."""

    averaging: Annotated[int, IntDistribution(1, 5_000, log=True)] = 1_000
    """Number of environment steps over which the online network's weights are averaged
    exponentially; the averaged network plays greedily, the online one in training. Where it is
    one update or less there is no averaging."""

    exploration_steps: Annotated[int, IntDistribution(500, 12_500, log=True)] = 2_000
    """Number of steps over which the share of random actions falls linearly from 1."""

    exploration_end: Annotated[float, FloatDistribution(0.0, 0.1)] = 0.1
    """Share of random actions after that."""

    width: Annotated[int, IntDistribution(32, 256, log=True)] = 64
    """Number of units of a hidden layer."""

    layers: int = 2
    """Number of hidden layers."""

    learning_starts: int = 500
    """Number of steps of random actions before the first update."""

    update_every: int = 1
    """Number of environment steps after which updates are made, as many at once as are due."""

    exploration: Exploration = "linear"
    """Share of random actions: falling with the steps to its end (linear), or the power
    exploration_decay ** finished episodes (per_episode)."""

    exploration_decay: float = 0.95
    """Factor by which the share of random actions falls with each finished episode."""

    terminal_mask: bool = True
    """Whether nothing is expected after a terminal state. False leaves the mask out, which is a
    mistake: falling then costs nothing."""

    gradient_clip: float = 10.0
    """Largest norm of the gradient; a larger gradient is scaled down to it."""

    epochs: int = 25
    """Number of epochs, each of 1,000 steps of the environment."""

    @property
    def gamma(self) -> float:
        """The discount factor."""
        return 1 - self.discount_gap

    @property
    def title(self) -> str:
        """Short label of a trial in output."""
        return (
            f"{self.algorithm} n{self.n_step} w{self.width} b{self.batch_size} "
            f"lr {self.learning_rate:.0e}"
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("algorithm", self.algorithm, get_args(Algorithm))
        one_of("schedule", self.schedule, get_args(Schedule))
        one_of("exploration", self.exploration, get_args(Exploration))
        for name in ("learning_rate", "updates_per_step", "discount_gap", "gradient_clip"):
            at_least(name, getattr(self, name), 0, open_end=True)
        for name in ("learning_starts", "layers"):
            at_least(name, getattr(self, name), 0)
        for name in ("n_step", "batch_size", "replay_size", "target_every", "width"):
            at_least(name, getattr(self, name), 1)
        for name in ("exploration_steps", "update_every", "averaging", "decay_steps"):
            at_least(name, getattr(self, name), 1)
        for name in ("discount_gap", "exploration_end", "exploration_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: expected 0 to 1")


class EpisodicTask(Protocol):
    """A task whose episodes have a bounded return, with vectors as observations and numbered
    actions."""

    @property
    def observations(self) -> int:
        """Number of numbers in an observation."""
        ...

    @property
    def actions(self) -> int:
        """Number of actions."""
        ...

    @property
    def ceiling(self) -> float:
        """The highest possible return of an episode."""
        ...

    def environment(self) -> gym.Env[np.ndarray, int]:
        """Makes an environment to train in."""
        ...

    def validation_returns(self, network: nn.Module) -> np.ndarray:
        """Returns the return of a greedy episode from each validation seed, (seeds,) float64."""
        ...


def network(inputs: int, outputs: int, width: int, layers: int) -> nn.Sequential:
    """Makes an untrained perceptron from observations, (N, inputs), to the value of each action,
    (N, outputs), with weights drawn from torch's global generator."""
    sizes = [inputs, *(width for _ in range(layers))]
    hidden = [
        part
        for size, following in pairwise(sizes)
        for part in (nn.Linear(size, following), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


def targets(
    batch: Transitions, online: nn.Module, target: nn.Module, algorithm: Algorithm
) -> Tensor:
    """Computes the values that the online network is to have for the actions taken, (N,).

    Args:
        batch: N transitions.
        online: The network in training.
        target: Its earlier copy.
        algorithm: Which of the two chooses the action whose value by `target` counts.
    """
    with torch.no_grad():
        values = target(batch.next_observations)
        chooser = values if algorithm == "dqn" else online(batch.next_observations)
        best = values.gather(1, chooser.argmax(dim=1, keepdim=True)).squeeze(dim=1)
        return batch.rewards + batch.discounts * best


def share_of_random_actions(config: DQNConfig, step: int, episodes: int) -> float:
    """Returns the probability of a random action.

    Args:
        config: The schedule.
        step: Number of the step in the trial, counted from 1.
        episodes: Number of episodes that have ended before it.
    """
    if step <= config.learning_starts:
        return 1.0
    if config.exploration == "per_episode":
        return config.exploration_decay**episodes
    left = max(0.0, 1 - (step - 1) / config.exploration_steps)
    return config.exploration_end + left * (1 - config.exploration_end)


def updates_due(config: DQNConfig, step: int) -> int:
    """Returns the number of updates after a step of the trial, counted from 1."""
    if step % config.update_every or step <= config.learning_starts:
        return 0
    before = step - config.update_every
    return int(step * config.updates_per_step) - int(before * config.updates_per_step)


def learning_rate(config: DQNConfig, step: int) -> float:
    """Returns the learning rate of the updates after a step of the trial, counted from 1."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * max(0.0, 1 - (step - 1) / config.decay_steps)


def training_seed(seed: int, epoch: int) -> int:
    """Returns the seed of an epoch's training environment, other than any seed of evaluation."""
    (drawn,) = np.random.SeedSequence((seed, epoch)).generate_state(1)
    return LEAST_TRAINING_SEED + int(drawn) % (2**31 - LEAST_TRAINING_SEED)


def solved_since(returns: list[float], least: float) -> int:
    """Returns the number of steps after which all later greedy returns are at least `least`; the
    steps of one epoch more than there are while the latest is not.

    Args:
        returns: Mean greedy return after each epoch.
        least: From where on a return counts as solved.
    """
    failed = [epoch for epoch, value in enumerate(returns, start=1) if value < least]
    return EPOCH * (max(failed, default=0) + 1)


class DQNLearner:
    """The `trainables.learner.Learner` that trains a network by deep Q-learning.

    Args:
        config: Hyperparameters.
        task: What is to be learned.
        device: Device of the networks; the replay is on the CPU.

    Attributes:
        evaluator: The network that plays greedily.
        returns: Mean greedy return on the validation seeds after each epoch.
    """

    def __init__(self, config: DQNConfig, task: EpisodicTask, device: torch.device) -> None:
        self.config = config
        self.task = task
        self.device = device
        first, second, third = np.random.SeedSequence(config.seed).generate_state(3).tolist()
        self.exploring = torch.Generator().manual_seed(first)
        self.sampling = torch.Generator().manual_seed(second)
        self.online = self._network(third)
        self.weights = FlatParameters(self.online)
        self.target = deepcopy(self.online).requires_grad_(requires_grad=False)
        self.target_weights = FlatParameters(self.target).vector.detach()
        self.average = Average(self.online, config.averaging * config.updates_per_step)
        self.evaluator = self.average.model.eval()
        self.optimizer = torch.optim.Adam(
            [self.weights.vector], lr=config.learning_rate, fused=True
        )
        self.replay = Replay(config.replay_size, task.observations)
        self.updates = 0
        self.episodes = 0
        self.returns: list[float] = []

    def _network(self, seed: int) -> nn.Sequential:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            made = network(
                self.task.observations, self.task.actions, self.config.width, self.config.layers
            )
        return made.to(self.device)

    def advance(self, epoch: int) -> dict[str, float]:
        """Plays and learns for 1,000 steps, then plays greedily; see `trainables.learner`.

        Raises:
            Diverged: If the loss of an update is not finite.
        """
        started = time.perf_counter()
        losses: list[Tensor] = []
        finished = self._interact(epoch, EPOCH, losses)
        metrics = {"train/return": float(np.mean(finished))} if finished else {}
        if losses:
            metrics["train/loss"] = _mean_finite(losses, epoch)
        metrics["train/seconds"] = time.perf_counter() - started
        self.returns.append(float(self.task.validation_returns(self.evaluator).mean()))
        return {**metrics, **self._validation()}

    def _validation(self) -> dict[str, float]:
        least = SOLVED * self.task.ceiling
        return {
            "validation/efficiency": float(np.mean(self.returns)) / self.task.ceiling,
            "validation/return": self.returns[-1],
            "validation/steps_to_solve": float(solved_since(self.returns, least)),
        }

    def _interact(self, epoch: int, steps: int, losses: list[Tensor]) -> list[float]:
        """Plays with random actions among the greedy ones, and makes the updates that are due.

        Args:
            epoch: Number of the epoch, counted from 1.
            steps: Number of steps to play.
            losses: Where the loss of each update is added.

        Returns:
            The return of each episode that ended, other than by the last step's cut.
        """
        config, environment = self.config, self.task.environment()
        past = NStepReturns(config.n_step, config.gamma, terminal_mask=config.terminal_mask)
        played = Experience(environment, training_seed(config.seed, epoch), past)
        chances = torch.rand(steps, generator=self.exploring).tolist()
        others = torch.randint(self.task.actions, (steps,), generator=self.exploring).tolist()
        before = self.episodes
        for count, (chance, other) in enumerate(zip(chances, others, strict=True), start=1):
            step = (epoch - 1) * EPOCH + count
            is_random = chance < share_of_random_actions(config, step, self.episodes)
            action = other if is_random else self._greedy(played.observation)
            for transition in played.step(action, is_last=count == steps):
                self.replay.add(transition)
            self.episodes = before + len(played.returns)
            losses += self._learn(step)
        return played.returns

    def _greedy(self, observation: np.ndarray) -> int:
        with torch.no_grad():
            return int(self.online(torch.from_numpy(observation).to(self.device)).argmax(dim=0))

    def _learn(self, step: int) -> list[Tensor]:
        """Copies the online network if that is due, and makes the updates that are; returns the
        loss of each."""
        if step % self.config.target_every == 0:
            self.target_weights.copy_(self.weights.vector.detach())
        due = updates_due(self.config, step) if len(self.replay) else 0
        rate = learning_rate(self.config, step)
        if rate == 0:
            for _ in range(due):
                self._average()
            return []
        self.optimizer.param_groups[0]["lr"] = rate
        return [self._update() for _ in range(due)]

    def _update(self) -> Tensor:
        batch = self.replay.sample(self.config.batch_size, self.sampling, self.device)
        wanted = targets(batch, self.online, self.target, self.config.algorithm)
        found = self.online(batch.observations).gather(1, batch.actions[:, None]).squeeze(dim=1)
        loss = nn.functional.smooth_l1_loss(found, wanted)
        loss.backward()
        self.weights.take_gradients()
        nn.utils.clip_grad_norm_(self.weights.vector, self.config.gradient_clip)
        self.optimizer.step()
        self._average()
        return loss.detach()

    def _average(self) -> None:
        self.updates += 1
        self.average.follow(self.weights.vector, self.updates)

    def snapshot(self) -> Snapshot:
        """Copies networks, optimiser, replay and random generators into a snapshot."""
        training = {
            "online": deepcopy(self.online.state_dict()),
            "target": deepcopy(self.target.state_dict()),
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "replay": self.replay.state(),
            "exploring": self.exploring.get_state(),
            "sampling": self.sampling.get_state(),
            "updates": self.updates,
            "episodes": self.episodes,
            "returns": list(self.returns),
        }
        return Snapshot(deepcopy(self.evaluator.state_dict()), training)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores networks, optimiser, replay and random generators from a snapshot."""
        training = snapshot.training
        self.online.load_state_dict(training["online"])
        self.target.load_state_dict(training["target"])
        self.evaluator.load_state_dict(snapshot.model)
        self.optimizer.load_state_dict(deepcopy(training["optimizer"]))
        self.replay.restore(training["replay"])
        self.exploring.set_state(training["exploring"])
        self.sampling.set_state(training["sampling"])
        self.updates = training["updates"]
        self.episodes = training["episodes"]
        self.returns = list(training["returns"])

    def probe(self) -> Probe:
        """Estimates the duration of an epoch from some steps, updates and episodes, as if every
        episode were of the highest possible return."""
        begun = time.perf_counter()
        self._interact(1, PROBED, [])
        played = time.perf_counter()
        for _ in range(PROBED):
            self._update()
        updated = time.perf_counter()
        found = self.task.validation_returns(self.evaluator)
        evaluation = (time.perf_counter() - updated) * self.task.ceiling / found.max()
        self.returns.append(float(found.mean()))
        steps = (played - begun) + (updated - played) * self.config.updates_per_step
        return Probe(steps * EPOCH / PROBED + evaluation, self.snapshot())


def _mean_finite(losses: list[Tensor], epoch: int) -> float:
    """Returns the mean loss of an epoch.

    Raises:
        Diverged: If it is not finite.
    """
    found = float(torch.stack(losses).double().mean(dim=0))
    if not np.isfinite(found):
        raise Diverged(f"mean loss {found} in epoch {epoch}")
    return found
