"""Runs a study when it is imported: processes that are forked afterwards have everything loaded
that a study loads on its way."""

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
