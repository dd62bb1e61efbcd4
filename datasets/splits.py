"""Splits of molecules or episodes into train, validation and test parts."""

from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError

HOMEWORK = (10_000, 1_000, 1_000)
"""Train, validation and test sizes of the published homework's split, in table order."""

DEFAULT_FRACTIONS = "0.8,0.1,0.1"
"""Train, validation and test fractions of ``--split random``."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the train, validation and test parts, each of shape (rows,), int64; the parts
    are disjoint."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def keeping(self, rows: np.ndarray) -> "Split":
        """Returns the split of a subset of the rows, as positions in `rows`.

        Args:
            rows: (kept,), sorted numbers of the rows that are kept; the others are dropped.
        """

        def positions(part: np.ndarray) -> np.ndarray:
            kept = part[np.isin(part, rows)]
            return np.searchsorted(rows, kept)

        return Split(positions(self.train), positions(self.validation), positions(self.test))


def split_rows(
    keys: np.ndarray, method: str, seed: int, first_names: np.ndarray | None = None
) -> Split:
    """Splits rows into train, validation and test.

    Args:
        keys: (rows,), a key for each row, such as its SMILES text; rows with equal keys stay
            together in a random split.
        method: ``homework``: the first 10,000 / 1,000 / 1,000 rows in table order.
            ``random``: 80 / 10 / 10 % of the keys, drawn with the seed. ``random:A,B,C``: these
            fractions (at most 1 in sum) or these counts of keys.
        seed: Seed of the random split; the homework split ignores it.
        first_names: (rows,) int64, if several keys may name one thing, such as several SMILES one
            molecule: the first of the keys of each row's thing, as its index among the sorted
            distinct keys. Rows of one thing then stay together. Sizes still count keys, and are
            exact up to the keys of the things at the borders. None: each key is a thing.

    Raises:
        InputError: If the method is unknown, its sizes are invalid, or there are too few rows.
    """
    if method == "homework":
        train, validation, _ = split_sizes(method, len(keys))
        ends = np.cumsum([train, validation])
        return Split(*np.split(np.arange(sum(HOMEWORK)), ends))
    distinct, key_of_row = np.unique(keys, return_inverse=True)
    train, validation, test = split_sizes(method, len(distinct))
    place_of_key = np.random.default_rng(seed).permutation(len(distinct))
    if first_names is not None:
        first_of_key = np.empty(len(distinct), np.int64)
        first_of_key[key_of_row] = first_names
        # All keys of a thing are ordered consecutively, at the drawn place of the first of them.
        is_other = first_of_key != np.arange(len(distinct))
        place_of_key = np.argsort(np.lexsort((is_other, place_of_key[first_of_key])))
    place = place_of_key[key_of_row if first_names is None else first_names]
    return Split(
        np.flatnonzero(place < train),
        np.flatnonzero((train <= place) & (place < train + validation)),
        np.flatnonzero((train + validation <= place) & (place < train + validation + test)),
    )


def split_episodes(episodes: int, method: str, seed: int) -> Split:
    """Splits episodes at random into train, validation and test.

    Args:
        episodes: Number of episodes.
        method: ``random``, 80 / 10 / 10 %, or ``random:A,B,C``, these fractions (at most 1 in sum)
            or counts.
        seed: Seed of the split.

    Raises:
        InputError: If the method is unknown, its sizes are invalid, or there are too few episodes.
    """
    sizes = _random_sizes(method, episodes, "episodes", "random or random:A,B,C")
    order = np.random.default_rng(seed).permutation(episodes)[: sum(sizes)]
    return Split(*(np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])))


def split_sizes(method: str, total: int) -> tuple[int, int, int]:
    """Returns the sizes of train, validation and test parts.

    Args:
        method: See `split_rows`.
        total: Number of items to split.

    Raises:
        InputError: If the method is unknown, its sizes are invalid, or the total is too small.
    """
    if method == "homework":
        if total < sum(HOMEWORK):
            raise InputError(
                f"--split homework takes the first {sum(HOMEWORK):,} molecules, the data set has "
                f"{total:,}: use --split random"
            )
        return HOMEWORK
    return _random_sizes(method, total, "molecules", "homework, random or random:A,B,C")


def _random_sizes(method: str, total: int, what: str, known: str) -> tuple[int, int, int]:
    name, _, sizes = method.partition(":")
    if name != "random":
        raise InputError(f"unknown --split {method}: expected {known}")
    numbers = _positive_numbers(sizes or DEFAULT_FRACTIONS)
    if numbers.sum() <= 1 + 1e-9:
        # Rounding the running sums, not the parts, never exceeds the total.
        numbers = np.diff(np.round(np.cumsum(numbers) * total), prepend=0)
    train, validation, test = numbers.astype(int).tolist()
    if train + validation + test > total or min(train, validation, test) < 2:
        raise InputError(
            f"--split {method} asks for {train}, {validation} and {test} of {total:,} {what}: "
            "expected at least 2 in each part and no more than there are"
        )
    return train, validation, test


def _positive_numbers(sizes: str) -> np.ndarray:
    try:
        numbers = np.array([float(size) for size in sizes.split(",")])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != 3 or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise InputError(
            f"--split random:{sizes}: expected three positive numbers train,validation,test"
        )
    return numbers
