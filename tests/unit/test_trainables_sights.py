"""Pictures of what a vision makes of frames, and a memory of a drive."""

import numpy as np
import pytest
import torch
from moving_blocks import blocks

from datasets.racing import Rules, StraightOn
from trainables import sights
from trainables.models.mixture_memory import MixtureMemory
from trainables.steering import Senses
from trainables.visions.pca import PrincipalComponents
from trainables.visions.untrained import RandomEncoder

DRIVES = blocks()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def components() -> PrincipalComponents:
    """A vision whose codes lose little of a frame."""
    vision = PrincipalComponents(24, 32)
    train = torch.from_numpy(DRIVES.recordings.frames[:160]).float() / 255
    vision.fit(train)
    vision.standardize(vision.raw(train))
    return vision


def test_pictures_are_of_test_frames_and_of_their_nearest_train_frames(
    components: PrincipalComponents,
) -> None:
    found = sights.of_frames(components, DRIVES, has_prior=False)
    assert {name: frames.shape for name, frames in found.items()} == dict.fromkeys(
        ("true", "again", "nearest", "sampled", "between"), (8, 3, 32, 32)
    )
    test, train = DRIVES.recordings.frames[200:], DRIVES.recordings.frames[:160]
    np.testing.assert_array_equal(found["true"][[0, -1]], test[[0, -1]])
    errors = np.abs(found["again"].astype(float) - found["true"]).mean(axis=(1, 2, 3))
    assert errors.max() < 5  # of 255
    distances = np.abs(train[:, None].astype(float) - found["true"]).mean(axis=(2, 3, 4))
    chosen = np.abs(found["nearest"].astype(float) - found["true"]).mean(axis=(1, 2, 3))
    assert (chosen <= distances.min(axis=0) + 2).all()
    np.testing.assert_array_equal(found["between"][[0, -1]], found["again"][[0, -1]])
    assert (found["between"][3] != found["between"][4]).any()


def test_random_codes_are_of_the_prior_if_there_is_one(components: PrincipalComponents) -> None:
    noise = torch.randn(8, 24, generator=torch.Generator().manual_seed(0))
    expected = 255 * components.drawn(noise).numpy()
    found = sights.of_frames(components, DRIVES, has_prior=True)["sampled"]
    np.testing.assert_allclose(found, expected, atol=1)
    other = sights.of_frames(components, DRIVES, has_prior=False)["sampled"]
    assert np.abs(other - expected).max() > 2


def test_a_vision_that_draws_nothing_shows_frames_only() -> None:
    found = sights.of_frames(RandomEncoder(4, 32).eval(), DRIVES, has_prior=False)
    assert found.keys() == {"true", "nearest"}


@pytest.mark.parametrize(
    ("dreams", "names"),
    [(True, {"seen", "reconstructed", "dreamed"}), (False, {"seen", "reconstructed"})],
)
def test_a_drive_is_shown_as_seen_reconstructed_and_dreamed(
    components: PrincipalComponents, dreams: bool, names: set[str]
) -> None:
    senses = Senses(components, MixtureMemory(24, 8, 2).eval())
    rules = Rules(size=32, steps=60, repeat=4)
    found = sights.of_a_drive(StraightOn(), senses, 3, rules, dreams)
    assert found.keys() == names
    assert {frames.shape for frames in found.values()} == {(15, 3, 32, 32)}


def test_a_dream_begins_anew_from_what_is_seen_and_is_its_own_in_between() -> None:
    torch.manual_seed(0)
    memory, steps = MixtureMemory(4, 8, 2).eval(), sights.DREAMED + 3
    codes, actions = torch.randn(steps, 4), torch.randn(steps, 3)
    found = sights.dreamed(memory, codes, actions)
    same = (found == codes).all(dim=1).tolist()
    assert same == [step % sights.DREAMED == 0 for step in range(steps)]
    other = codes.clone()
    other[1:20] += 1
    np.testing.assert_array_equal(sights.dreamed(memory, other, actions), found)
