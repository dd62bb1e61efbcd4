"""The benchmark of the whole study: its plan and its accounts."""

import json
from pathlib import Path
from typing import Any

import pytest
from family_contracts import KEYS

from benchmarks import spans
from benchmarks.breakdown import PARTS, STARTED, WAITED, Run
from benchmarks.plain_study import Plan, _parsed, apart, check_same, outlook
from benchmarks.rounds import Disagreement
from benchmarks.spans import Span, span
from trainables.models.gnn import GNNConfig


def trial(number: int, begin: float, r2: float = 0.5, **config: Any) -> list[Span]:
    """Two seconds to prepare, four to train, one to evaluate, one of nothing, one to save."""
    fact = {"trial": number}
    return [
        Span("preparing", begin, begin + 2, {**fact, "config": config}),
        Span("training", begin + 2, begin + 6, fact),
        Span("evaluation", begin + 6, begin + 7, {**fact, "r2": r2}),
        Span("checkpoint", begin + 8, begin + 9, fact),
    ]


def run(*trials: list[Span]) -> Run:
    """Launched at 0; Ray at 3 to 5, trials to 30 on two slots, gone at 40."""
    driver = [
        Span("main", 1, 38, {}),
        Span("ray", 3, 5, {}),
        Span("trials", 5, 30, {}),
        Span("recording", 6, 7, {}),
        Span("recording", 31, 33, {}),
        Span("search", 8, 8.5, {}),
    ]
    both = [*driver, *(span for spans in trials for span in spans)]
    return Run(0, 40, 2, sorted(both, key=lambda span: span.begin))


def test_the_parts_add_up_to_the_wall_time() -> None:
    measured = run(trial(0, 7), trial(1, 8), trial(2, 17))
    parts = measured.parts()
    assert tuple(parts) == PARTS
    assert sum(parts.values()) == pytest.approx(measured.wall)


def test_a_second_of_a_slot_belongs_to_what_its_trial_did() -> None:
    parts = run(trial(0, 7), trial(1, 8), trial(2, 17)).parts()
    assert parts["imports of the driver"] == 1
    assert parts["opening data and records"] == 2
    assert parts["starting Ray"] == 2
    assert parts[STARTED] == pytest.approx((2 + 3 + 1) / 2)  # the third after the first, at 16
    assert parts["training"] == pytest.approx(3 * 4 / 2)
    assert parts["evaluation"] == pytest.approx(3 * 1 / 2)
    assert parts["writing checkpoints"] == pytest.approx(3 * 1 / 2)
    assert parts[WAITED] == pytest.approx(3 * 1 / 2)
    assert parts["slots empty towards the end"] == pytest.approx((30 - 17 + 30 - 26) / 2)
    assert parts["analysis and weights at the end"] == 8
    assert parts["leaving"] == 2


def test_ray_that_is_started_for_the_preflight_is_no_part_of_it() -> None:
    parts = run(trial(0, 7), [Span("preflight", 2, 5, {})]).parts()
    assert parts["pre-flight"] == 1
    assert parts["starting Ray"] == 2
    assert parts["opening data and records"] == 1


def test_an_epoch_of_ours_is_training_and_evaluation() -> None:
    spans = [
        Span("preparing", 7, 8, {"trial": 0, "config": {}}),
        Span("step", 8, 12, {"trial": 0, "training": 3.0, "r2": 0.5}),
    ]
    parts = run(spans).parts()
    assert parts["training"] == pytest.approx(3 / 2)
    assert parts["evaluation"] == pytest.approx(1 / 2)


def test_the_driver_is_accounted_for_besides() -> None:
    assert run(trial(0, 7)).driver() == {"recording": 3.0, "search: ask and tell": 0.5}


def test_r2_is_compared_between_trials_of_one_configuration() -> None:
    ours = run(trial(0, 7, r2=0.5, width=1), trial(1, 8, r2=0.9, width=2))
    plain = run(trial(0, 7, r2=0.3, width=2), trial(1, 8, r2=0.4, width=1))
    assert sorted(apart(ours, plain)) == pytest.approx([0.1, 0.6])


def test_sides_that_ran_other_configurations_are_refused() -> None:
    plan = Plan([GNNConfig()], [{}])
    with pytest.raises(Disagreement, match="same configurations"):
        check_same(plan, [run(trial(0, 7, width=1))])


def test_what_five_times_would_take() -> None:
    half = run(trial(0, 7), trial(1, 8))
    assert "the rest alone takes longer" in outlook([half], [half])
    plain = Run(0, 199, 2, half.spans)
    assert "training 1.1 times as fast would do" in outlook([half], [plain])
    assert "it is there" in outlook([half], [Run(0, 200, 2, half.spans)])


def test_the_plan_is_the_defaults_and_then_draws_with_the_seed() -> None:
    typed = ["--trials", "8", "--epochs", "3"]
    plan = Plan.of(_parsed(typed))
    assert plan == Plan.of(_parsed(typed))
    assert plan.configs[:5] == [GNNConfig(family=family, epochs=3) for family in KEYS]
    assert len(plan.points) == len(plan.configs) == 8
    other = Plan.of(_parsed([*typed, "--seed", "1"]))
    assert other.configs[:5] == plan.configs[:5]
    assert other.configs[5:] != plan.configs[5:]


def test_searches_of_their_own_share_the_defaults_only() -> None:
    plan = Plan.of(_parsed(["--trials", "8", "--configurations", "searched"]))
    assert [config.family for config in plan.configs] == list(KEYS)


def test_spans_of_all_processes_are_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with span("before"):
        pass
    monkeypatch.setenv(spans.FOLDER, str(tmp_path))
    with span("outer", trial=1) as facts:
        facts["r2"] = 0.5
    (tmp_path / "another.jsonl").write_text(json.dumps(["earlier", 0.0, 1.0, {}]) + "\n")
    read = spans.read(tmp_path)
    assert [s.name for s in read] == ["earlier", "outer"]
    assert read[1].facts == {"trial": 1, "r2": 0.5}
