"""How long a search trained until it had a value, alone and from an earlier study."""

import math

from benchmarks.from_earlier import rows, seconds_to

FAILED = -math.inf


def test_time_counts_every_trial_until_the_value_is_there() -> None:
    search = [(10.0, 0.2), (5.0, FAILED), (20.0, 0.7), (8.0, 0.9)]
    assert seconds_to(search, 0.7) == 35
    assert seconds_to(search, 0.8) == 43
    assert math.isinf(seconds_to(search, 0.95))


def test_the_table_has_a_row_for_each_seed_and_medians() -> None:
    alone = [(10.0, 0.2), (30.0, 0.8)]
    pairs = [
        (alone, [(4.0, 0.85)]),
        (alone, [(9.0, 0.5), (3.0, 0.7)]),
        (alone, [(20.0, 0.8), (9.0, 0.9)]),
    ]
    assert rows(pairs) == [
        ["1", "0.800", "40", "4", "0.850"],
        ["2", "0.800", "40", "never", "0.700"],
        ["3", "0.800", "40", "20", "0.900"],
        ["all", "0.800", "40", "20", "0.817"],
    ]
