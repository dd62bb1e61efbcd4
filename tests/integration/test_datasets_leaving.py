"""A command that ends does not look for garbage first."""

import subprocess
import sys

PROGRAM = """
class Ring:
    def __init__(self):
        self.ring = self

    def __del__(self):
        print("found")

{first}
rings = [Ring()]
del rings[0]
"""


def run(first: str) -> str:
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_python_ends_without_a_last_search_for_garbage() -> None:
    assert run("") == "found\n", "as Python does by itself"
    assert run("from datasets.leaving import leave_quickly; leave_quickly()") == ""
