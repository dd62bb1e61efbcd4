"""Both clusters of the README end to end, on this machine alone."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from cluster.machines import TOOLS
from pages import CLUSTERS
from places import TESTS

MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or MISSING != [],
        reason=f"needs Linux, root and {', '.join(TOOLS)}; missing: {MISSING}",
    ),
]


@pytest.mark.parametrize("script", ["aws.py", "on_prem.py"])
def test_a_cluster_runs_a_study_and_outlives_its_losses(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(TESTS / "cluster" / script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0
    assert "`ray down` has left nothing" in done.stdout
    assert {*re.findall(r"runs the README's `(.+)`", done.stdout)} == {*CLUSTERS}
