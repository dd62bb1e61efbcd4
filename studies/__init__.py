"""The studies, one file each, and the commands that check, export and replay them."""

import sys
from pathlib import Path

# `datasets` is also the import name of a well-known package. If that one is installed too, this
# project's must win.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.home import provide_folders

provide_folders()
