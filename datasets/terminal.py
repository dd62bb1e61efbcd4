"""Makes stdout tolerate characters that the terminal cannot encode."""

import io
import sys


def replace_what_cannot_be_shown() -> None:
    """Makes stdout print a question mark for each character that its encoding lacks.

    Otherwise an error would end a command whose work is done. On stderr, Python escapes such
    characters by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
