"""A worker of a cluster has `orrery`, too, of which each package lies elsewhere there."""

import shutil
import subprocess
import sys
from pathlib import Path

from places import ROOT

from engine.on_ray import cluster

SCRIPT = "import analysis, orrery; print(orrery.__file__, orrery.Study.__module__)"


def test_a_worker_that_has_each_package_by_itself_imports_orrery(tmp_path: Path) -> None:
    """As Ray unpacks them; what a study says of `orrery` in a function is imported there."""
    places = [tmp_path / str(number) for number in range(len(cluster.CODE))]
    for name, place in zip(cluster.CODE, places, strict=True):
        place.mkdir()
        copy = shutil.copy if name.endswith(".py") else shutil.copytree
        copy(ROOT / name, place / name)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, places))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file = places[cluster.CODE.index("orrery.py")] / "orrery.py"
    assert done.stdout.split() == [str(file), "engine.study"]


def test_a_cluster_gets_everything_that_orrery_imports() -> None:
    import orrery

    assert {*cluster.CODE} == {*orrery.PACKAGES, "orrery.py"}
    assert all((ROOT / name).exists() for name in cluster.CODE)
