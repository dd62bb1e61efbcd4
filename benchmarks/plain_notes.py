"""Notes of the plain way, whose trials keep no log: a line of JSON for each epoch.

Its trials import this module, which imports nothing that would slow them down.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTES = "notes"
"""Name of the notes' folder in that of the study."""

ASKED = "asked"
"""Name of the file that says when the first trial was asked for."""


class Notes:
    """Notes in a folder, a file for each process.

    Args:
        folder: The folder, which is made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.first = folder / ASKED

    def asked(self) -> None:
        """Notes when a trial is asked for, of the first one alone."""
        if not self.first.exists():
            self.first.write_text(str(time.time()), encoding="utf-8")

    def epoch(
        self, trial: str, config: Mapping[str, Any], begun: float, training: float, r2: float
    ) -> None:
        """Notes an epoch, and that it ends now.

        Args:
            trial: Tells the trial from others.
            config: Its configuration, of plain values.
            begun: ``time.time()`` when the trial began.
            training: Seconds that it trained in this epoch.
            r2: On the validation split.
        """
        line = json.dumps([trial, config, begun, time.time(), training, r2])
        with (self.folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
