"""What is said for a process that cannot say it itself."""

import os
import signal
import subprocess
import sys

from studies.last_words import WORDS, last_words

KILLED = f"""
import os
from studies.last_words import last_words
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
