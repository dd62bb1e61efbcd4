"""Searches that are replayed on recorded curves: time, early stopping, regret, the tables."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks import learning_curves, record_curves, search
from benchmarks.early_ranks import ranks_table
from benchmarks.learning_curves import Curve
from benchmarks.replayed_search import Replay, ReplayedSearch, Table
from benchmarks.search_tables import Kind, Searched
from benchmarks.stopping_rules import RULES, Plan
from datasets.errors import InputError
from record.trial import Trial
from trainables.models import families

FAMILIES = len(families.FAMILIES)
KEPT = 4
"""A quarter of 16 trials."""

EPOCHS = 15
START = 0.5


def made(count: int = 24, noise: float = 0.0, seeds: Sequence[int] = (0,)) -> list[Curve]:
    """Makes curves of which the later configuration is the better one at any epoch, but for
    noise; an epoch takes a second."""
    generator = np.random.default_rng(0)
    curves = []
    for number, config in enumerate(record_curves.drawn(count)):
        fields = {name: value for name, value in asdict(config).items() if name != "seed"}
        for seed in seeds:
            ends = 0.9 + 0.001 * number - 0.5 * 2.0 ** -np.arange(EPOCHS)
            noisy = ends + noise * generator.standard_normal(EPOCHS)
            curves.append(Curve(number, seed, fields, noisy.tolist(), [1.0] * EPOCHS))
    return curves


def replayed(
    rule: str, curves: Sequence[Curve], trials: int = 16, workers: int = 1, sampler: str = "random"
) -> tuple[ReplayedSearch, Replay]:
    table = Table(record_curves.space(), curves)
    plan = Plan(trials, EPOCHS)
    replay = ReplayedSearch(table, RULES[rule], plan, sampler, workers, START, seed=1)  # pyright: ignore[reportArgumentType]
    return replay, replay.run()


def epochs(trials: Sequence[Trial]) -> list[int]:
    return sorted(trial.epoch for trial in trials)


def test_without_early_stopping_a_search_takes_all_epochs_and_starts() -> None:
    replay, result = replayed("none", made())
    assert result.seconds == pytest.approx(16 * (EPOCHS + START))
    assert [trial.status for trial in replay.state.trials()] == ["finished"] * 16
    assert len({each.number for each in result.found}) == 16


def test_workers_share_the_trials() -> None:
    _, result = replayed("none", made(), workers=4)
    assert result.seconds == pytest.approx(4 * (EPOCHS + START))


def test_the_defaults_come_first_and_are_never_stopped() -> None:
    for rule in RULES:
        replay, _ = replayed(rule, made())
        first = replay.state.search()[:FAMILIES]
        assert [replay.configuration[trial.number] for trial in first] == list(range(FAMILIES))
        assert {trial.status for trial in first} == {"finished"}, rule


def test_after_one_epoch_the_best_quarter_goes_on() -> None:
    replay, result = replayed("1 epoch, then the best quarter", made())
    others = replay.state.search()[FAMILIES:]
    assert epochs(others) == [1] * (len(others) - KEPT) + [EPOCHS] * KEPT
    finished = {each.number for each in result.found} - set(range(FAMILIES))
    numbers = [replay.configuration[trial.number] for trial in others]
    assert finished == set(sorted(numbers)[-KEPT:])
    took = (FAMILIES + KEPT) * EPOCHS + len(others) - KEPT + START * (16 + KEPT)
    assert result.seconds == pytest.approx(took)


def test_promotion_leaves_the_worse_ones_at_a_rung() -> None:
    replay, result = replayed("halving from epoch 3 on, promotion", made())
    reached = epochs(replay.state.search()[5:])
    assert set(reached) <= {3, 6, 12, EPOCHS}
    assert EPOCHS in reached
    assert reached[0] < EPOCHS
    searched = {trial.number: trial.epoch for trial in replay.state.search()[5:]}
    best = max(searched, key=replay.configuration.__getitem__)
    assert searched[best] == EPOCHS
    assert result.best() == max(each.value for each in result.found)


def test_stopping_is_the_engines() -> None:
    replay, _ = replayed("halving from epoch 3 on, stopping", made())
    statuses = [trial.status for trial in replay.state.search()[5:]]
    assert {"pruned", "finished"} == set(statuses)
    pruned = [trial for trial in replay.state.search() if trial.status == "pruned"]
    assert {trial.epoch for trial in pruned} <= {3, 6, 12}


@pytest.mark.parametrize("rule", RULES)
def test_a_training_that_diverges_frees_its_worker(rule: str) -> None:
    curves = made()
    curves[7] = Curve(7, 0, curves[7].config, curves[7].objective[:2], [1.0, 1.0])
    curves[8] = Curve(8, 0, curves[8].config, [], [])
    replay, result = replayed(rule, curves, trials=24, workers=2)
    failed = [t.number for t in replay.state.trials() if t.status == "failed"]
    assert 8 in {replay.configuration[number] for number in failed}
    assert np.isfinite(result.best())


def test_a_sampler_that_learns_takes_each_configuration_once_and_of_the_family_it_drew() -> None:
    replay, result = replayed("none", made(40), trials=24, sampler="tpe")
    assert len(set(replay.configuration.values())) == 24
    table = replay.table
    drawn = {**table.drawn[9]}
    assert table.nearest(drawn, [7, 8, 9, 10]) == 9
    others = [number for number in table.drawn if number != 9]
    nearest = table.nearest(drawn, others)
    assert table.drawn[nearest]["family"] == drawn["family"]
    assert result.found


def test_equal_seeds_give_equal_searches() -> None:
    rule, curves = "halving from epoch 3 on, promotion", made(noise=0.01)
    results = [replayed(rule, curves, sampler="tpe")[1] for _ in "ab"]
    assert results[0] == results[1]


def test_regret_is_what_the_best_lacks_and_unknown_before_anything_is_trained() -> None:
    curves = made()
    _, result = replayed("none", curves, trials=len(curves))
    searched = Searched(Kind("random", "none", "searched", len(curves)), [result])
    best = max(curve.objective[-1] for curve in curves)
    assert searched.regrets(best) == pytest.approx([0.0])
    assert np.isnan(searched.regrets(best, seconds=EPOCHS / 2)).all()
    half = searched.regrets(best, seconds=result.seconds / 2)
    assert half[0] >= 0
    assert searched.minutes == pytest.approx(result.seconds / 60)


def test_ranks_agree_without_noise_and_not_with_much() -> None:
    clear, noisy = (ranks_table(made(60, noise, seeds=(0, 1))) for noise in (0.0, 0.5))
    first = [line.split("|")[3].strip() for line in clear.splitlines() if "| 1 " in line]
    assert first == ["1.00", "1.00"]
    far = [float(line.split("|")[3]) for line in noisy.splitlines() if "| 1 " in line]
    assert max(far) < 0.7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    curves = made(40, noise=0.005, seeds=(0, 1))
    learning_curves.write(curves, tmp_path / "curves.parquet")
    return tmp_path / "curves.parquet"


def test_the_command_prints_the_tables_and_draws_the_figure(file: Path, capsys) -> None:
    image = file.parent / "search.png"
    search.main(
        ["--curves", str(file), "--orders", "2", "--trials", "8", "16", "--image", str(image)]
    )
    said = capsys.readouterr().out
    for rule in RULES:
        assert f"| {rule} " in said
    assert "40 configurations, 2 at a time, 2 orders" in said
    assert "another seed" in said
    assert image.read_bytes().startswith(b"\x89PNG")


def test_curves_are_read_as_they_were_written(file: Path) -> None:
    known = {(c.number, c.seed): c for c in made(40, noise=0.005, seeds=(0, 1))}
    for curve in learning_curves.read(file):
        other = known[curve.number, curve.seed]
        assert curve.config == other.config
        assert curve.objective == pytest.approx(other.objective, abs=1e-6)


def test_a_line_that_was_cut_off_is_recorded_again(tmp_path: Path) -> None:
    first, second = made(2)
    parts = tmp_path / "curves.parts.jsonl"
    parts.write_text(f"{first.line()}\n{second.line()[:40]}")
    assert list(learning_curves.read_lines(parts)) == [first]


def test_what_is_no_file_of_curves_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "curves.parquet"
    with pytest.raises(InputError, match=r"record_curves\.py"):
        search.main(["--curves", str(file)])
    file.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"record_curves\.py"):
        search.main(["--curves", str(file)])
