"""What a terminal can show of what is printed."""

import io
import sys


def replace_what_cannot_be_shown() -> None:
    """Has a question mark printed for each character that the terminal, or the file in its place,
    has no code for: an error would end a command whose work is done. What is printed to stderr
    Python escapes by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
