"""Linear controllers: features, actions, and cars at once."""

import numpy as np
import pytest
import torch

from datasets.racing import Rules
from trainables.models.mixture_memory import MixtureMemory
from trainables.steering import TOGETHER, Controllers, Senses, driven, steered
from trainables.visions.untrained import RandomEncoder

RULES = Rules(size=32, steps=12)


def senses(hidden: int | None = 6) -> Senses:
    torch.manual_seed(0)
    return Senses(
        RandomEncoder(4, 32).eval(), None if hidden is None else MixtureMemory(4, hidden, 1).eval()
    )


def weights(cars: int, senses: Senses, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(cars, senses.parameters))


def test_the_outputs_are_steering_throttle_and_brake() -> None:
    rows = torch.tensor([[[9.0, 0], [0, 9], [0, 9]], [[-9, 0], [0, -9], [0, -9]], [[0] * 2] * 3])
    found = steered(rows, torch.ones(3, 2))
    np.testing.assert_allclose(found, [[1, 1, 1], [-1, 0, 0], [0, 0.5, 0]], atol=2e-4)


@pytest.mark.parametrize(("hidden", "features"), [(None, 5), (6, 11)])
def test_features_are_code_memory_and_a_constant(hidden: int | None, features: int) -> None:
    found = senses(hidden)
    assert found.features == features
    assert found.parameters == 3 * features


def test_a_controller_without_memory_knows_the_present_frame_only() -> None:
    known = senses(hidden=None)
    policy = Controllers(known, weights(2, known))
    frames = np.random.default_rng(1).integers(0, 255, (2, 3, 32, 32), np.uint8)
    policy.begin(2)
    first = policy.act(frames, np.arange(2))
    policy.act(frames[::-1].copy(), np.arange(2))
    np.testing.assert_array_equal(policy.act(frames, np.arange(2)), first)


def test_a_memory_holds_what_each_car_saw_and_did_before() -> None:
    known = senses()
    policy = Controllers(known, weights(3, known))
    generator = np.random.default_rng(1)
    films = generator.integers(0, 255, (4, 3, 3, 32, 32), np.uint8)
    policy.begin(3)
    together = [policy.act(frames, np.arange(3)) for frames in films]
    for car in range(3):
        alone = Controllers(known, policy.weights[car : car + 1].flatten(1).numpy())
        alone.begin(1)
        for step, frames in enumerate(films):
            found = alone.act(frames[car : car + 1], np.arange(1))
            np.testing.assert_allclose(found[0], together[step][car], atol=1e-5)
    policy.begin(3)
    np.testing.assert_array_equal(policy.act(films[0], np.arange(3)), together[0])


def test_cars_whose_drive_is_over_do_not_move_the_memory_of_the_others() -> None:
    known = senses()
    whole, fewer = (Controllers(known, weights(3, known)) for _ in range(2))
    films = np.random.default_rng(1).integers(0, 255, (3, 3, 3, 32, 32), np.uint8)
    for policy in (whole, fewer):
        policy.begin(3)
        policy.act(films[0], np.arange(3))
    remaining = np.array([0, 2])
    for frames in films[1:]:
        expected = whole.act(frames, np.arange(3))[remaining]
        np.testing.assert_allclose(fewer.act(frames[remaining], remaining), expected, atol=1e-5)


def test_cars_are_driven_in_groups_in_any_order() -> None:
    known, cars = senses(), TOGETHER + 2
    seeds = [50 + n % 3 for n in range(cars)]
    asked: list[int] = []

    def backwards(function, heats):  # type: ignore[no-untyped-def]
        asked.extend(len(each.seeds) for each in heats)
        return reversed([function(each) for each in reversed(heats)])

    found = driven(known, weights(cars, known), seeds, RULES, backwards)
    assert asked == [TOGETHER, 2]
    assert found == driven(known, weights(cars, known), seeds, RULES)
    assert len(found) == cars
    (alone,) = driven(known, weights(cars, known)[3:4], seeds[3:4], RULES)
    assert alone.total == pytest.approx(found[3].total)
