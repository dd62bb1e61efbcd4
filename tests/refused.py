"""Checks that a study refuses invalid arguments with one line, exit code 2 and no files left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.main import main
from engine.study import Study

Refused = Callable[..., str]
"""Function that runs a study with arguments, checks that it refuses them and leaves no files, and
returns the error line."""


def refusing(study: Study[Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Makes the `Refused` function of a study whose runs and data are in a folder."""

    def refused(*arguments: str) -> str:
        where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
        assert main(study, ["--local", *where, *arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1, f"more than one line: {said}"
        left = [path for path in folder.glob("runs/**/*") if path.is_file()]
        assert left == [], "something was written before the input was known to be good"
        made = [path for path in folder.glob("data/**/*") if path.is_file()]
        prepared = ("graphs", "same-molecules")
        kept = [path for path in made if not any(name in str(path) for name in prepared)]
        assert [path for path in kept if path.suffix != ".lock"] == []
        return said

    return refused
