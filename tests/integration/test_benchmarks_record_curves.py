"""The learning curves of benchmarks/search.py are recorded in parts, and none twice."""

from dataclasses import replace
from pathlib import Path

from benchmarks import learning_curves, record_curves
from benchmarks.learning_curves import Curve
from benchmarks.record_curves import COSINE

EPOCHS = 2


def record(file: Path, cache: Path, configurations: int) -> dict[tuple[int, int], Curve]:
    counts = ["--configurations", str(configurations), "--twice", "1"]
    small = ["--molecules", "120", "--epochs", str(EPOCHS), "--data-dir", str(cache)]
    record_curves.main([*counts, *small, "--file", str(file)])
    return {(curve.number, curve.seed): curve for curve in learning_curves.read(file)}


def test_curves_are_recorded_in_parts_and_none_twice(tmp_path: Path, cache: Path) -> None:
    file, parts = tmp_path / "curves.parquet", tmp_path / "curves.parts.jsonl"
    first = record(file, cache, 6)
    cosine = {(COSINE + n, 0) for n in range(6)}
    assert set(first) == {(n, 0) for n in range(6)} | cosine | {(0, 1)}
    assert not parts.exists()
    curve = first[3, 0]
    assert len(curve.objective) == len(curve.seconds) == EPOCHS
    assert (curve.config["family"], curve.config["epochs"]) == ("gin", EPOCHS)
    assert first[COSINE + 3, 0].config == {**curve.config, "schedule": "cosine"}
    assert first[0, 1].objective != first[0, 0].objective

    # A seventh configuration was trained before an interruption.
    trained = replace(curve, number=6, objective=[0.25, 0.5])
    parts.write_text(f"{trained.line()}\n")
    second = record(file, cache, 8)
    assert set(second) == {*first, (6, 0), (7, 0)}
    assert {key: second[key] for key in first} == first
    assert second[6, 0].objective == [0.25, 0.5]
