"""What a terminal cannot show is replaced, and nothing is lost."""

import io
import sys

import pytest
from rich.console import Console

from datasets.terminal import replace_what_cannot_be_shown

TEXT = "R² of 0.9 Å – 能量 \udce9\n"
"""With what no text has either: a byte in the name of a file."""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "R? of 0.9 ? ? ?? ?\n"),
        ("latin-1", "R² of 0.9 Å ? ?? ?\n"),
        ("utf-8", "R² of 0.9 Å – 能量 ?\n"),
    ],
)
def test_what_a_terminal_has_no_code_for_is_a_question_mark(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    replace_what_cannot_be_shown()
    print(TEXT, end="")
    Console(soft_wrap=True, highlight=False).print(TEXT, markup=False, end="")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == 2 * shown


def test_a_text_in_place_of_a_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    replace_what_cannot_be_shown()
    print(TEXT, end="")
    assert text.getvalue() == TEXT
