"""What a controller sees of a frame: a code of a few numbers, by several kinds of vision.

To add one, write a module in this package and append its `Vision` to the end of `VISIONS` and its
name to `VisionName`. The order must not change: it is that of the choices in recorded studies.
"""

from collections.abc import Mapping
from typing import Literal

from trainables.visions import autoencoder, pca, untrained, vaegan
from trainables.visions.vision import Vision

VisionName = Literal["vae", "vaegan", "autoencoder", "pca", "random"]

VISIONS: Mapping[str, Vision] = {
    "vae": autoencoder.VAE,
    "vaegan": vaegan.VAEGAN,
    "autoencoder": autoencoder.AUTOENCODER,
    "pca": pca.PCA,
    "random": untrained.RANDOM,
}
"""Name in configurations, on the command line and in records -> kind of vision."""
