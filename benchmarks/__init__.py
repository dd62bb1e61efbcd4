"""Each published speed has its command here."""

import sys
from pathlib import Path

# As in `studies`: this project's `datasets` must win over the well-known package of that name.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.home import provide_folders

provide_folders()
