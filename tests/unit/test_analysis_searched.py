"""What a search says of its hyperparameters: importances that were planted, ends of ranges."""

import random
from dataclasses import replace

import pytest
from recorded_study import study_of as study
from recorded_study import trial

from analysis.searched import at_the_edge, chosen, importances
from engine.space import Space
from record.trial import Baseline, Status
from trainables.models.gnn import GNNConfig

SPACE = Space.of(GNNConfig, "family", {})
SEARCHED = SPACE.parameters


def drawn(number: int, seed: int = 0) -> list[GNNConfig]:
    """Configurations of the space, at random."""
    dice = random.Random(seed)
    return [
        GNNConfig(
            learning_rate=10 ** dice.uniform(-3.5, -2),
            dropout=dice.uniform(0, 0.3),
            width=dice.randint(32, 128),
            batch_size=dice.choice((32, 64, 128)),
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("field", ["dropout", "width"])
def test_the_hyperparameter_that_decides_is_the_most_important(field: str) -> None:
    runs = [trial(n, config, float(getattr(config, field))) for n, config in enumerate(drawn(80))]
    shares = importances(study(runs), SEARCHED)
    assert next(iter(shares)) == field
    assert shares[field] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_hyperparameters_that_matter_as_much_stand_as_they_were_declared() -> None:
    """Else their order would be that of a set of texts, another one in each process."""
    runs = [trial(n, GNNConfig(), n / 80) for n in range(80)]
    shares = importances(study(runs), SEARCHED)
    alike = [key for key, share in shares.items() if share == shares["schedule"]]
    assert alike == ["schedule", "edges", "head"]
    assert [each.key for each in SEARCHED if each.key in alike] == alike
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_trial_that_was_stopped_early_counts_as_a_bad_one_whatever_it_had_reached() -> None:
    configs = drawn(80)
    runs = [
        trial(n, config, config.dropout)
        if config.dropout > 0.15
        else trial(n, config, 9.0, "pruned")
        for n, config in enumerate(configs)
    ]
    assert next(iter(importances(study(runs), SEARCHED))) == "dropout"


def test_too_few_trials_tell_no_importance() -> None:
    runs = [trial(n, config, config.dropout) for n, config in enumerate(drawn(9))]
    assert importances(study(runs), SEARCHED) == {}
    assert importances(study([]), SEARCHED) == {}
    failed = [replace(each, status="failed") for each in runs * 3]
    assert importances(study(failed), SEARCHED) == {}


def test_trials_are_ranked_as_successive_halving_ranked_them() -> None:
    told: list[tuple[Status, int, float]] = [
        ("finished", 3, 0.5),
        ("pruned", 1, 0.9),
        ("pruned", 2, 0.1),
        ("finished", 3, 0.4),
    ]
    runs = [
        trial(number, GNNConfig(), value, status, epochs=epochs)
        for number, (status, epochs, value) in enumerate(told)
    ]
    assert [each.number for each in chosen(study(runs))] == [1, 2, 3, 0]


def test_what_defaults_have_in_common_does_not_seem_to_matter() -> None:
    configs = drawn(40)
    runs = [trial(n, config, config.dropout) for n, config in enumerate(configs)]
    expected = importances(study(runs), SEARCHED)
    defaults = [
        trial(100 + n, GNNConfig(width=77), 9.0, role=Baseline(100 + n)) for n in range(20)
    ]
    assert importances(study([*runs, *defaults]), SEARCHED) == expected


def test_where_few_finished_the_stopped_ones_are_not_among_the_better() -> None:
    """Else all are, and every hyperparameter matters as much as every other one."""
    values = [(config, config.dropout) for config in drawn(200)]
    best = sorted(value for _, value in values)[-8]
    runs = [
        trial(n, config, value, "finished" if value >= best else "pruned")
        for n, (config, value) in enumerate(values)
    ]
    shares = importances(study(runs), SEARCHED)
    assert next(iter(shares)) == "dropout"
    assert shares["dropout"] > 0.8


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (GNNConfig(learning_rate=0.01), ["learning_rate, 0.01, is at the highest end"]),
        (GNNConfig(width=128, depth=6), ["depth, 6, is at the highest", "width, 128, is at the"]),
        (GNNConfig(width=32), ["width, 32, is at the lowest end of 32 to 128"]),
        (GNNConfig(dropout=0.0), []),
        (GNNConfig(family="gat", heads=1), []),
        (GNNConfig(family="gcn", heads=4), []),
        (GNNConfig(cutoff=9.0), []),
    ],
    ids=["rate", "two", "lowest", "nothing below zero", "nothing below one", "idle", "outside"],
)
def test_a_value_at_an_end_of_its_range_is_named_where_there_is_something_beyond(
    config: GNNConfig, told: list[str]
) -> None:
    found = at_the_edge(trial(0, config, 0.5), SEARCHED)
    assert len(found) == len(told)
    assert all(any(words in line for line in found) for words in told)
