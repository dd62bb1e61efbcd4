"""A study on a cluster of three nodes, in this process: one goes, one comes, nothing is lost."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from fake_study import FAKE
from places import TESTS
from ray.cluster_utils import Cluster
from rollouts_study import ROLLOUTS, ROLLOUTS_STUDY
from spread_study import SPREAD

from engine.display import Display
from engine.main import main
from engine.on_ray import backend, shared_storage
from record.reading import from_mlflow
from record.tracking_uri import tracking_uri
from record.trial import Trial
from studies import doctor
from trainables.versions import versions

pytestmark = pytest.mark.alone

NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "memory": 10**9}

HEALTH = {"initial_delay_ms": 1000, "period_ms": 500, "timeout_ms": 1000, "failure_threshold": 3}
"""How soon a node counts as dead: sooner than by default."""


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """A head and two workers, each with two cores."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in HEALTH.items():
            patch.setenv(f"RAY_health_check_{name}", str(value))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", str(TESTS))
        cluster = Cluster(
            initialize_head=True, head_node_args={**NODE, "include_dashboard": False}
        )
        try:
            for _ in range(2):
                cluster.add_node(**NODE)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def where(cluster: Cluster, folder: Path, storage: str | None = None) -> list[str]:
    return [
        *("--address", str(cluster.address), "--storage", storage or str(folder / "shared")),
        *("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")),
    ]


def each_epoch_is_there_once(runs: Path, trials: int, epochs: int) -> None:
    """In MLflow, of which nothing differs from the log."""
    study = from_mlflow("spread", tracking_uri(runs))
    client = study.artifacts.store.client
    assert [trial.status for trial in study.trials] == ["finished"] * trials
    for trial in study.trials:
        told = client.get_metric_history(study.artifacts.run_id(trial), study.objective)
        assert [point.step for point in told] == [*range(1, epochs + 1)]
    assert doctor.main(["spread", "--runs-dir", str(runs)]) == 0


def test_a_node_goes_and_one_comes_and_every_trial_finishes(three, tmp_path, monkeypatch, capsys):
    marks = tmp_path / "marks"
    marks.mkdir()
    victim = next(node for node in three.worker_nodes)
    epochs: list[int] = []
    changed = Display.changed

    def meddle(self: Display, trial: Trial) -> None:
        """In the driver's main thread, where a node can be added."""
        changed(self, trial)
        if trial.status != "running":
            return
        epochs.append(trial.epoch)
        if len(epochs) == 24:
            three.remove_node(victim, allow_graceful=False)
        if len(epochs) == 30:
            three.add_node(**NODE)

    monkeypatch.setattr(Display, "changed", meddle)
    command = [
        *("--ending", "good", "--trials", "7", "--epochs", "20", "--seconds", "1.5"),
        *("--scheduler", "none", "--name", "spread", "--marks", str(marks)),
    ]
    code = main(SPREAD, [*command, *where(three, tmp_path)])
    said = capsys.readouterr()
    assert code == 0, said

    assert "room for 6 trials at once" in said.out
    assert said.out.count("is gone\n") == 1
    assert said.out.count("(2 CPU) joined\n") == 1
    moved = [line for line in said.out.splitlines() if "it goes on from its checkpoint of" in line]
    assert moved
    assert "its process died" not in said.out

    # Trials on all nodes, the one that came included; the data once in the memory of each.
    found = [mark.name.split("_") for mark in marks.iterdir()]
    assert len({node for node, *_ in found}) == 4
    assert len(found) == 4

    each_epoch_is_there_once(tmp_path / "runs", trials=7, epochs=20)
    shared = tmp_path / "shared" / "studies" / "spread"
    assert sorted(path.name for path in shared.iterdir()) == ["log", "trials"]


def marked(marks: Path, kind: str) -> list[list[str]]:
    """What trials or rollouts recorded, in the order of time."""
    found = [mark.name.split("_")[1:] for mark in marks.iterdir() if mark.name.startswith(kind)]
    return sorted(found, key=lambda parts: int(parts[-1]))


def test_a_node_lost_in_a_generation_costs_no_more_than_the_rollouts_it_drove(
    three, tmp_path, capsys
):
    """A trial with four workers, on all three nodes: one of those that do not hold the trial goes
    in its second generation of eight rollouts."""
    marks = tmp_path / "marks"
    marks.mkdir()
    gone: list[str] = []

    def meddle() -> None:
        victim = None
        while victim is None:
            time.sleep(0.02)
            trials = {node for _, node, _ in marked(marks, "generation")}
            used = {node for epoch, _, node, _ in marked(marks, "rollout") if epoch == "2"}
            others = [node for node in three.worker_nodes if node.node_id in used - trials]
            victim = next(iter(others), None)
        gone.append(victim.node_id)
        three.remove_node(victim, allow_graceful=False)

    other = threading.Thread(target=meddle)
    other.start()
    command = [
        *("--workers-per-trial", "4", "--trials", "1", "--epochs", "5", "--scheduler", "none"),
        *("--marks", str(marks), "--name", "generations"),
    ]
    code = main(ROLLOUTS_STUDY, [*command, *where(three, tmp_path)])
    other.join()
    said = capsys.readouterr()
    assert code == 0, said
    assert said.out.count("is gone\n") == 1

    begun = [epoch for epoch, *_ in marked(marks, "generation")]
    assert begun == ["1", "2", "3", "4", "5"]  # none was begun again
    driven = marked(marks, "rollout")
    assert len({node for _, _, node, _ in driven}) == 3
    second = [item for epoch, item, _, _ in driven if epoch == "2"]
    assert len(set(second)) == ROLLOUTS
    lost = [item for epoch, item, node, _ in driven if epoch == "2" and node == gone[0]]
    assert 1 <= len(lost) <= 2  # what its two cores were at
    three.add_node(**NODE)


def refused(command: list[str], capsys) -> str:
    """The one line that the user reads."""
    assert main(FAKE, command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_a_cluster_without_shared_storage_is_refused_before_anything_starts(
    three, tmp_path, capsys
):
    command = ["--address", str(three.address), "--runs-dir", str(tmp_path / "runs")]
    line = refused([*command, "--data-dir", str(tmp_path / "data")], capsys)
    assert line.startswith("error: --storage is missing")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_storage_that_another_node_does_not_see_is_refused(three, tmp_path, capsys):
    line = refused(where(three, tmp_path, storage="memory://bucket/orrery"), capsys)
    assert "does not see what this one writes there" in line


def test_a_node_with_other_versions_is_refused(three, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shared_storage, "versions", lambda: {**versions(), "orrery": "9.9.9"})
    line = refused(where(three, tmp_path), capsys)
    assert "runs orrery 0.2.0 and not 9.9.9, as the driver does" in line


def test_a_node_with_other_versions_that_joins_later_ends_the_session(
    three, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(backend, "versions", lambda: {**versions(), "torch": "9.9.9"})
    command = ["--ending", "good", "--trials", "1", "--epochs", "2", "--smoke"]
    assert main(FAKE, [*command, *where(three, tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "runs torch 2.13.0, where the driver has 9.9.9" in line
    assert "the same command goes on" in line


def test_a_trial_for_which_no_node_has_room_is_refused(three, tmp_path, capsys):
    line = refused(["--cpus-per-trial", "64", *where(three, tmp_path)], capsys)
    assert "no node holds a trial of 64 CPU and 0 GPU" in line
    line = refused(["--gpus-per-trial", "0.5", *where(three, tmp_path)], capsys)
    assert "a node has at most 0 GPUs" in line


def test_an_address_where_no_cluster_is_is_refused(tmp_path, capsys):
    ray.shutdown()
    line = refused(["--address", "127.0.0.1:1", "--runs-dir", str(tmp_path)], capsys)
    assert line.startswith("error: --address 127.0.0.1:1: cannot join a Ray cluster there")
