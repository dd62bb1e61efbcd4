"""Text that is not ours is shown as it is, wherever it stands in Markdown."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from analysis.markdown import block, code, escaped, table
from analysis.web_page import page

ODD = [
    "![x](y)",
    "[text](http://example.org)",
    "[text][1] and [1]: http://example.org",
    "<http://example.org> <b>&amp;</b>",
    "three ``` backticks and one `",
    "**bold** *slanted* _slanted_ __bold__ ~~gone~~",
    "a__b _a_ -__c__: __init__.py _",
    "# no heading",
    "> no quotation",
    "- no list",
    "a\\|b|c\\",
    "kJ|mol",
    "two\nlines\r\nand\u2028more",
    "homo/lumo gap (eV)",
    "learning_rate is 1e-3",
]


def shown(markdown: str) -> str:
    """What a reader of Markdown sees, without its marks."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    rendered = parser.render(markdown)
    assert "<a" not in rendered
    assert "<img" not in rendered
    return html.unescape(re.sub(r"<[^>]*>", "", rendered))


@pytest.mark.parametrize("text", ODD)
def test_an_escaped_text_is_read_as_it_was_on_one_line(text: str) -> None:
    assert shown(escaped(text)).rstrip("\n") == " ".join(text.split())
    assert shown(f"- why: {escaped(text)}").strip() == f"why: {' '.join(text.split())}"


@pytest.mark.parametrize("text", ["mu", "homo/lumo gap (eV)", "kcal/mol", "learning__rate", "-1"])
def test_a_harmless_text_is_left_as_it_is(text: str) -> None:
    assert escaped(text) == text


@pytest.mark.parametrize("text", ODD)
def test_code_is_read_as_it_was(text: str) -> None:
    assert shown(f"so {code(text)} it was").strip() == f"so {' '.join(text.split())} it was"
    lines = f"{text}\n```\n![x](y)"
    assert shown(f"{block(lines)}\n\nand on") == f"{shown(block(lines))}and on\n"
    assert shown(block(text)).rstrip("\n") == text.replace("\r\n", "\n")


@pytest.mark.parametrize("text", ODD)
def test_a_table_has_a_cell_for_each_text(text: str) -> None:
    made = table([escaped(text), "b"], [["1", escaped(text)], ["2", "x"]])
    lines = made.splitlines()
    assert len({len(line) for line in lines}) == 1, "the columns are aligned"
    parsed = MarkdownIt("commonmark").enable("table").parse(made)
    cells = [token for token in parsed if token.type in ("th_open", "td_open")]
    assert len(cells) == 6
    assert shown(made).split("\n").count(" ".join(text.split())) == 2


def test_a_picture_that_is_no_figure_is_its_caption() -> None:
    assert '<span class="wide" role="img" aria-label="x &lt;b&gt;">x &lt;b&gt;</span>' in page(
        "s", "Why: ![x <b>](nope)", {}
    )
