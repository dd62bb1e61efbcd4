"""Runs a study on import, so that processes forked afterwards have all of its modules loaded."""

import contextlib
import io
import tempfile

from fake_study import FAKE

from engine.main import main

with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    main(
        FAKE,
        [
            *("--local", "--trials", "1", "--epochs", "1", "--ending", "good"),
            *("--runs-dir", f"{folder}/runs", "--data-dir", f"{folder}/data"),
        ],
    )
