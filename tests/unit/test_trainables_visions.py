"""Visions: codes of frames, and frames of codes."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.config import FitConfig
from trainables.visions import VISIONS, VisionName
from trainables.visions.autoencoder import Autoencoder
from trainables.visions.codes import LEAST_SPREAD
from trainables.visions.pca import PrincipalComponents
from trainables.visions.untrained import RandomEncoder
from trainables.visions.vaegan import Discriminator
from trainables.visions.vision import Frames, VisionSettings

SIZE = 32


def frames(count: int) -> Tensor:
    """Frames of two colours that lie in a plane of few dimensions, plus a little noise."""
    generator = torch.Generator().manual_seed(0)
    bases = torch.rand((3, 3, SIZE, SIZE), generator=generator)
    shares = torch.rand((count, 3), generator=generator) / 3
    noise = 0.01 * torch.rand((count, 3, SIZE, SIZE), generator=generator)
    return torch.einsum("nk,kcij->ncij", shares, bases) + noise


@pytest.mark.parametrize("name", VISIONS)
def test_a_vision_makes_codes_of_frames_and_most_make_frames_of_codes(name: str) -> None:
    seeing = VISIONS[name].make(5, SIZE)
    codes = seeing(frames(4))
    assert codes.shape == (4, 5)
    drawn = seeing.reconstructed(codes)
    if name == "random":
        assert drawn is None
    else:
        assert drawn is not None
        assert drawn.shape == (4, 3, SIZE, SIZE)
        assert 0 <= float(drawn.detach().min()) <= float(drawn.detach().max()) <= 1


def test_every_vision_has_its_name_in_the_order_of_the_choices() -> None:
    assert get_args(VisionName) == (*VISIONS,)


def test_the_error_of_principal_components_is_told_of_each_epoch() -> None:
    known = (255 * frames(60)).byte()
    seeing = PrincipalComponents(3, SIZE)
    settings = VisionSettings("pca", 3, 0.0, 0.0, 0, FitConfig(epochs=4))
    history = VISIONS["pca"].train(seeing, settings, Frames(known[:50], known[50:]))
    unseen = known[50:].float() / 255
    error = float((seeing.drawn(seeing.raw(unseen)) - unseen).square().mean())
    assert history == [{"validation/reconstruction_mse": pytest.approx(error)}] * 4
    assert 0 < error < 1e-3


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    seen = torch.rand((20, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))
    seen *= torch.linspace(0.1, 2, 20)[:, None, None, None]  # variances that differ
    seeing = PrincipalComponents(4, SIZE)
    seeing.fit(seen)
    pixels = seen.flatten(1).double().numpy()
    *_, expected = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    found = seeing.components.double().numpy()
    np.testing.assert_allclose(np.abs((found * expected[:4]).sum(axis=1)), 1, atol=1e-4)


def test_three_components_reconstruct_frames_of_three_pictures() -> None:
    seeing, seen = PrincipalComponents(3, SIZE), frames(50)
    seeing.fit(seen)
    seeing.standardize(seeing.raw(seen))
    again = seeing.reconstructed(seeing(seen))
    assert again is not None
    assert float((again - seen).square().mean()) < 1e-4 < float(seen.var(dim=0).mean())


def test_codes_are_of_about_the_same_size_but_noise_is_not_blown_up() -> None:
    seeing = RandomEncoder(3, SIZE)
    codes = torch.randn((500, 3), generator=torch.Generator().manual_seed(2))
    codes = codes * torch.tensor([5.0, 1.0, 0.01]) + 3
    seeing.standardize(codes)
    scaled = (codes - seeing.center) / seeing.spread
    np.testing.assert_allclose(scaled.mean(dim=0), 0, atol=1e-5)
    std = scaled.std(dim=0)
    np.testing.assert_allclose(std[:2], 1, rtol=1e-5)
    assert float(std[2]) == pytest.approx(0.01 / 5 / LEAST_SPREAD, rel=0.2)


def test_codes_that_are_all_the_same_stay_finite() -> None:
    seeing = RandomEncoder(3, SIZE)
    seeing.standardize(torch.ones(10, 3))
    assert torch.isfinite(seeing(frames(2))).all()


def test_shift_and_scale_do_not_change_what_is_reconstructed() -> None:
    torch.manual_seed(0)
    seeing, seen = Autoencoder(4, SIZE), frames(30)
    before = seeing.reconstructed(seeing(seen))
    seeing.standardize(seeing.raw(seen).detach())
    after = seeing.reconstructed(seeing(seen))
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(before.detach(), after.detach(), atol=1e-5)


@pytest.mark.parametrize(("size", "maps"), [(32, [16, 32]), (64, [16, 32, 64])])
def test_the_discriminator_halves_the_side_down_to_eight_pixels(
    size: int, maps: list[int]
) -> None:
    torch.manual_seed(0)
    judge, seen = Discriminator(size), torch.rand(2, 3, size, size)
    for level, count in enumerate(maps, start=1):
        assert judge.features(seen, level).shape == (2, count * (size >> level) ** 2)
    assert len(judge.layers) == len(maps)
    assert size >> len(maps) == 8
    assert judge(seen).shape == (2,)


def test_every_pixel_is_seen_by_features_on_both_sides_of_a_patch() -> None:
    """As patches side by side would not: then the decoder draws a grid along their edges."""
    torch.manual_seed(0)
    judge, seen = Discriminator(SIZE), torch.zeros(1, 3, SIZE, SIZE)
    blank = judge.features(seen, 1).view(16, 16, 16)
    for place in (10, 11, 12, 13):
        spot = seen.clone()
        spot[..., place, place] = 1
        changed = (judge.features(spot, 1).view(16, 16, 16) != blank).any(dim=0)
        assert int(changed.sum()) == 4
