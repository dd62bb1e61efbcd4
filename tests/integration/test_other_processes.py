"""What holds in processes other than the one that tests: a shell, a worker, one that is killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from places import ROOT

from datasets import gfn2
from engine.last_words import WORDS, last_words
from trainables.device import device_name, memory_gib

CPU = torch.device("cpu")

KILLED = f"""
import os
from engine.last_words import last_words
with last_words():
    os.kill(os.getpid(), {int(signal.SIGKILL)})
"""


def test_a_process_that_is_killed_has_one_line_said_for_it():
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stderr == f"{WORDS}\n"


def test_nothing_is_said_for_one_that_ends_by_itself(capfd):
    with last_words():
        pass
    assert capfd.readouterr() == ("", "")


def test_the_script_answers_bad_input_with_one_line_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "studies" / "gnn_sweep.py"), "--trials", "none"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: argument --trials: invalid int value: 'none' (see --help)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_prediction_waits_for_no_package_that_it_does_not_use() -> None:
    """Each takes a second to import, and PyG as long as torch."""
    heavy = ("gymnasium", "matplotlib", "ray", "torch_geometric", "torchmetrics")
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; import analysis.predict, analysis.predict_molecules; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "torch" in done.stdout.split()
    assert not {*heavy} & {*done.stdout.split()}


def test_our_datasets_wins_over_an_installed_package_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("raise ImportError('the other one')")
    done = subprocess.run(
        [sys.executable, str(ROOT / "studies" / "gnn_sweep.py"), "--help"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_equal_seeds_give_equal_tables_in_other_processes():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = gfn2.generate(40, 7, pool.map)
    assert there.table.equals(gfn2.generate(40, 7).table)


def in_a_process_of_its_own(*lines: str) -> list[float]:
    """What the lines print: memory that other tests freed would be taken first here."""
    script = "\n".join(["import torch", "from trainables.device import *", *lines])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [float(number) for number in done.stdout.split()]


def test_memory_on_a_cpu_is_that_of_the_process():
    before, after = in_a_process_of_its_own(
        "print(memory_gib(torch.device('cpu')))",
        "held = torch.ones(64 * 2**20)",  # 0.25 GiB
        "print(memory_gib(torch.device('cpu')))",
    )
    assert after - before == pytest.approx(0.25, abs=0.05)
    assert device_name(CPU) == "cpu"
    assert memory_gib(CPU) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_fit_keeps_the_memory_that_it_frees():
    """Blocks of 16 MiB, of which glibc would give back each at once."""
    full, freed = in_a_process_of_its_own(
        "pick_device(0, 1)",
        "held = [torch.ones(4 * 2**20) for _ in range(16)]",
        "print(memory_gib(torch.device('cpu')))",
        "del held",
        "print(memory_gib(torch.device('cpu')))",
    )
    assert freed == pytest.approx(full, abs=0.02)
