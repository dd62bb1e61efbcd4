"""Splits: who is trained on, who chooses, who is kept for the end."""

import re

import numpy as np
import pytest

from datasets.errors import InputError
from datasets.splits import HOMEWORK, Split, split_rows
from datasets.standardize import Standardizer

KEYS = np.array([f"molecule-{number:04d}" for number in range(1000)])


def sizes(split: Split) -> list[int]:
    return [len(split.train), len(split.validation), len(split.test)]


def rows(split: Split) -> np.ndarray:
    return np.concatenate([split.train, split.validation, split.test])


def test_a_random_split_is_disjoint_and_covers_every_row():
    split = split_rows(KEYS, "random", seed=0)
    assert sizes(split) == [800, 100, 100]
    np.testing.assert_array_equal(np.sort(rows(split)), np.arange(1000))
    assert rows(split).dtype == np.int64


def test_equal_seeds_give_equal_splits_and_others_do_not():
    once, again, other = (split_rows(KEYS, "random", seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(rows(once), rows(again))
    # Two independent draws of 100 of 1,000 share 10 +- 2.8; more than 40 has no chance at all.
    assert len(np.intersect1d(once.test, other.test)) < 40


def test_a_random_split_does_not_follow_the_order_of_the_rows():
    """The mean row of 100 drawn of 1,000 is 499.5 +- 27: outside 5 deviations once in 2e6."""
    split = split_rows(KEYS, "random", seed=0)
    assert abs(split.test.mean() - 499.5) < 5 * 27.4
    assert abs(split.validation.mean() - 499.5) < 5 * 27.4


def test_rows_of_one_molecule_stay_together():
    keys = np.random.default_rng(0).permutation(np.repeat(KEYS[:100], 5))
    split = split_rows(keys, "random", seed=1)
    parts = [set(keys[part]) for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [80, 10, 10]  # of molecules, five rows each
    assert sizes(split) == [400, 50, 50]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_a_thing_of_two_names_is_in_one_part_and_the_others_stay_where_they_were():
    first_names = np.arange(1000)
    first_names[100:110] = np.arange(10)
    for seed in range(5):
        before = split_rows(KEYS, "random", seed)
        split = split_rows(KEYS, "random", seed, first_names)
        assert sum(sizes(split)) == 1000
        for part in ("train", "validation", "test"):
            found = getattr(split, part)
            for name in range(10):
                assert (name in found) == (name + 100 in found)
            # Ten rows go elsewhere, and each may push one over each of the two borders.
            assert len(np.setxor1d(found, getattr(before, part))) <= 30


def test_things_of_which_each_has_two_names_are_drawn_in_the_shares_asked_for():
    first_names = np.arange(1000) % 500
    split = split_rows(KEYS, "random:300,100,600", 0, first_names)
    assert sizes(split) == [300, 100, 600]
    assert all(len({*(part % 500)}) == len(part) / 2 for part in vars(split).values())
    # Drawn at random, 45 +- 6 of the first 150 rows are trained on; taken in order, all would be.
    assert 20 < len(np.intersect1d(split.train, np.arange(150))) < 75


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("random:0.5,0.3,0.2", [500, 300, 200]),
        ("random:0.5,0.1,0.1", [500, 100, 100]),
        ("random:600,50,7", [600, 50, 7]),
        ("random:996,2,2", [996, 2, 2]),
        ("random:0.7,0.2,0.1", [700, 200, 100]),  # sums to 0.9999999999999999
    ],
)
def test_fractions_and_counts_give_the_sizes_they_say(method, expected):
    split = split_rows(KEYS, method, seed=0)
    assert sizes(split) == expected
    assert len(np.unique(rows(split))) == sum(expected)


def test_fractions_of_an_odd_number_leave_no_row_out():
    split = split_rows(KEYS[:997], "random:0.333,0.333,0.334", seed=0)
    assert len(np.unique(rows(split))) == 997


def test_the_homework_split_takes_the_first_rows_in_order():
    split = split_rows(np.zeros(12_345), "homework", seed=9)
    assert HOMEWORK == (10_000, 1_000, 1_000)  # shared/references.md
    np.testing.assert_array_equal(split.train, np.arange(10_000))
    np.testing.assert_array_equal(split.validation, np.arange(10_000, 11_000))
    np.testing.assert_array_equal(split.test, np.arange(11_000, 12_000))


def test_the_homework_split_of_too_few_rows_is_refused():
    with pytest.raises(InputError, match="first 12,000 molecules, the data set has 11,999"):
        split_rows(np.zeros(11_999), "homework", seed=0)


@pytest.mark.parametrize("method", ["", "scaffold", "Random", "homework:1,2,3"])
def test_an_unknown_split_is_refused(method):
    expected = f"unknown --split {method}: expected homework, random or random:A,B,C"
    with pytest.raises(InputError, match=expected):
        split_rows(KEYS, method, seed=0)


@pytest.mark.parametrize(
    "numbers",
    ["0.8,0.2", "1,2,3,4", "a,b,c", "0.8,0.2,0", "0.9,0.2,-0.1", "nan,0.1,0.1", "inf,5,5", ","],
)
def test_sizes_that_are_not_three_positive_numbers_are_refused(numbers):
    with pytest.raises(InputError, match=rf"random:{numbers}: expected three positive numbers"):
        split_rows(KEYS, f"random:{numbers}", seed=0)


@pytest.mark.parametrize("numbers", ["900,90,11", "0.9,0.9,0.9", "998,1,1", "1e9,5,5"])
def test_sizes_that_do_not_fit_are_refused_with_the_number_there_is(numbers):
    with pytest.raises(InputError, match=rf"random:{numbers} asks for .* of 1,000 molecules"):
        split_rows(KEYS, f"random:{numbers}", seed=0)


def test_fractions_of_too_few_molecules_are_refused():
    with pytest.raises(InputError, match="at least 2 in each part"):
        split_rows(KEYS[:9], "random", seed=0)


def test_keeping_gives_places_in_what_is_left():
    split = Split(np.array([0, 2, 4, 9]), np.array([1, 5]), np.array([3, 8]))
    kept = np.array([0, 1, 3, 4, 5, 8])  # rows 2 and 9 were dropped; 6 and 7 were in no part
    still = split.keeping(kept)
    assert [part.tolist() for part in (still.train, still.validation, still.test)] == [
        [0, 3],
        [1, 4],
        [2, 5],
    ]
    np.testing.assert_array_equal(kept[still.train], [0, 4])


def test_keeping_everything_changes_nothing():
    split = split_rows(KEYS, "random", seed=0)
    np.testing.assert_array_equal(rows(split.keeping(np.arange(1000))), rows(split))


def test_the_standardizer_has_the_mean_and_deviation_of_what_it_was_given():
    """By hand: mean (1 + 3 + 5 + 7) / 4 = 4, variance (9 + 1 + 1 + 9) / 4 = 5."""
    scale = Standardizer.of(np.array([1.0, 3.0, 5.0, 7.0]))
    assert (scale.mean, scale.std) == (4.0, pytest.approx(5**0.5, rel=1e-15))


@pytest.mark.parametrize("value", [0.0, 0.1, 1.7, 3.3, -1e6])
@pytest.mark.parametrize("count", [1, 3, 7, 10, 100])
def test_a_constant_target_has_no_scale(value, count):
    """Rounding leaves a standard deviation of about 1e-17."""
    with pytest.raises(InputError, match=re.escape(f"constant ({value:g})")):
        Standardizer.of(np.full(count, value))
