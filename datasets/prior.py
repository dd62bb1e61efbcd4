"""Approximate dipole moments and charges of molecules by GFN2-xTB, from which a model learns the
difference to better ones (delta learning, Ramakrishnan et al. 2015, doi:10.1021/acs.jctc.5b00099).

A single point takes about 5 ms a molecule. Those of a data set are computed once, in parallel, and
kept in the cache; a change of the geometries or of `VERSION` names another entry.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from datasets.cache import Cache
from datasets.errors import InputError
from datasets.files import written_whole
from datasets.graphs import Graphs
from datasets.parallel import ParallelMap
from datasets.xtb import SinglePointError, single_point

Prior = Literal["none", "gfn2"]

PRIORS: tuple[Prior, ...] = get_args(Prior)

VERSION = 1
"""Version of the prior, part of the cache's name; to be raised when the same geometries give other
numbers."""

CHUNK = 100
"""Molecules per work item: about half a second on one core."""

ATOMIC_NUMBER = 5
"""Column of the node features that is the atomic number."""

SAME = 0.01
"""Largest difference, in Debye, of two dipole moments by one method at one geometry."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive molecules.

    Attributes:
        atomic_numbers: (atoms,), all molecules one after the other.
        positions: (atoms, 3) float32, Angstrom.
        offsets: (molecules + 1,), molecule m has the atoms offsets[m] to offsets[m + 1].
    """

    atomic_numbers: np.ndarray
    positions: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Moments:
    """What GFN2-xTB finds for some molecules; NaN where it fails.

    Attributes:
        dipoles: (molecules, 3) float32, in Debye.
        charges: (atoms,) float32, in elementary charges.
    """

    dipoles: np.ndarray
    charges: np.ndarray


def with_prior(
    graphs: Graphs, cache: Path | Cache, parallel: ParallelMap = map
) -> tuple[Graphs, int]:
    """Adds a prior to graphs, from the cache or computed.

    Args:
        graphs: The graphs.
        cache: Cache of the prior.
        parallel: Maps `gfn2_single_points` over chunks of molecules.

    Returns:
        The graphs of the molecules that have one, and the number of the others.

    Raises:
        InputError: If none has one, tblite is not installed, or the cache is damaged.
    """

    def make(path: Path) -> None:
        found = moments_of(graphs, parallel)
        with written_whole(path) as beside, beside.open("wb") as file:
            np.savez(file, dipoles=found.dipoles, charges=found.charges)

    path = Cache.of(cache).get(f"prior-gfn2-{_digest(graphs)}-v{VERSION}.npz", make)
    made = with_moments(graphs, _read(path, graphs))
    return made, len(graphs) - len(made)


def with_moments(graphs: Graphs, found: Moments) -> Graphs:
    """Returns the graphs of the molecules that have moments, with these as the prior.

    Raises:
        InputError: If none has.
    """
    converged = np.asarray(np.isfinite(found.dipoles).all(axis=1))
    if not converged.any():
        raise InputError("GFN2-xTB fails for all of the molecules: is this their geometry?")
    return kept(replace(graphs, prior=found.dipoles, charges=found.charges), converged)


def moments_of(graphs: Graphs, parallel: ParallelMap = map) -> Moments:
    """Computes the dipole moments and charges of all molecules.

    Raises:
        InputError: If tblite is not installed.
    """
    numbers = graphs.node_features[:, ATOMIC_NUMBER]
    chunks = []
    for first in range(0, len(graphs), CHUNK):
        ends = graphs.node_offsets[first : first + CHUNK + 1]
        atoms = slice(ends[0], ends[-1])
        chunks.append(
            Chunk(np.array(numbers[atoms]), np.array(graphs.positions[atoms]), ends - ends[0])
        )
    parts = list(parallel(gfn2_single_points, chunks))
    return Moments(
        dipoles=np.concatenate([part.dipoles for part in parts]),
        charges=np.concatenate([part.charges for part in parts]),
    )


def gfn2_single_points(chunk: Chunk) -> Moments:
    """Computes the molecules of a chunk, in one thread: other chunks keep the other cores busy."""
    dipoles = np.full((len(chunk.offsets) - 1, 3), np.nan, np.float32)
    charges = np.full(len(chunk.atomic_numbers), np.nan, np.float32)
    with threadpool_limits(1):
        for place in range(len(dipoles)):
            atoms = slice(chunk.offsets[place], chunk.offsets[place + 1])
            try:
                found = single_point(chunk.atomic_numbers[atoms], chunk.positions[atoms])
            except SinglePointError:
                continue
            dipoles[place], charges[atoms] = found.dipole, found.charges
    return Moments(dipoles, charges)


def check_no_leak(graphs: Graphs, target: str) -> None:
    """Checks that the targets are not the prior itself.

    Raises:
        InputError: If the dipole moments of most molecules are those of GFN2-xTB.
    """
    assert graphs.prior is not None
    difference = np.abs(np.linalg.norm(graphs.prior, axis=1) - graphs.targets)
    if np.median(difference) < SAME:
        raise InputError(
            f"{target} is GFN2-xTB's own dipole moment here: --prior gfn2 would tell the model "
            "what it is to predict; leave it out"
        )


def kept(graphs: Graphs, chosen: np.ndarray) -> Graphs:
    """Returns the chosen graphs.

    Args:
        graphs: Graphs with a prior.
        chosen: (graphs,) bool.
    """
    if chosen.all():
        return graphs
    assert graphs.prior is not None and graphs.charges is not None
    atoms, edges = np.diff(graphs.node_offsets), np.diff(graphs.edge_offsets)
    of_atoms, of_edges = np.repeat(chosen, atoms), np.repeat(chosen, edges)
    return Graphs(
        node_features=graphs.node_features[of_atoms],
        positions=graphs.positions[of_atoms],
        node_offsets=np.append(0, atoms[chosen].cumsum()),
        edge_index=graphs.edge_index[:, of_edges],
        edge_types=graphs.edge_types[of_edges],
        edge_offsets=np.append(0, edges[chosen].cumsum()),
        targets=graphs.targets[chosen],
        rows=graphs.rows[chosen],
        prior=graphs.prior[chosen],
        charges=graphs.charges[of_atoms],
    )


def _digest(graphs: Graphs) -> str:
    """Returns a fingerprint of the elements and geometries: 16 hex digits of a SHA-256."""
    digest = hashlib.sha256()
    for part in (
        graphs.node_features[:, ATOMIC_NUMBER],
        graphs.positions,
        graphs.node_offsets,
    ):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path, graphs: Graphs) -> Moments:
    """Reads a cached prior.

    Raises:
        InputError: If the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            found = Moments(stored["dipoles"], stored["charges"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, and it is made again") from None
    if found.dipoles.shape != (len(graphs), 3) or len(found.charges) != len(graphs.positions):
        raise InputError(f"{path} is of other molecules: remove it, and it is made again")
    return found
