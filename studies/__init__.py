"""What is asked, one file a study, and the commands that look after studies."""

import sys
from pathlib import Path

# `datasets` is also the import name of a well-known package. Where that one is installed too, this
# project's must win.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.home import provide_folders

provide_folders()
