"""The page: links to its sections, text that is no HTML, figures within it."""

import re

import pytest

from analysis import style
from analysis.web_page import TEMPLATES, page

MARKDOWN = """\
# Title

Text.

## One & *two* `x`

### Deeper

## Über 5 %

## One & *two* `x`
"""


def test_each_section_is_linked_below_the_heading_also_one_that_is_called_as_another() -> None:
    made = page("s", MARKDOWN, {})
    assert (
        '<h1>Title</h1>\n<nav><ul><li><a href="#one-two-x">One &amp; two x</a></li>'
        '<li><a href="#über-5">Über 5 %</a></li>'
        '<li><a href="#one-two-x-1">One &amp; two x</a></li></ul></nav>\n<p>Text.</p>\n'
    ) in made
    assert re.findall(r'<h2 id="([^"]*)">', made) == ["one-two-x", "über-5", "one-two-x-1"]
    assert "<h3>Deeper</h3>" in made


@pytest.mark.parametrize("markdown", ["# Title\n\nText.\n", "Text.\n\n## A section\n"])
def test_a_page_without_sections_or_without_a_heading_has_no_links(markdown: str) -> None:
    assert "<nav>" not in page("s", markdown, {})


def test_what_looks_like_html_is_text() -> None:
    made = page("<script>&", "# <b>\n\n## <i>\n\n<script>\n\n![<u>](nope)", {})
    assert "<title>&lt;script&gt;&amp;</title>" in made
    assert '<li><a href="#i">&lt;i&gt;</a></li>' in made
    assert not re.search(r"<(script|b|i|u)\b", made)


def test_what_looks_like_a_template_is_text() -> None:
    made = page("{{ 1 + 1 }}", "# {% raw %}\n\n{# gone #} {{ 1 + 1 }}", {})
    assert "<title>{{ 1 + 1 }}</title>" in made
    assert "<h1>{% raw %}</h1>" in made
    assert "<p>{# gone #} {{ 1 + 1 }}</p>" in made


def test_an_animation_is_within_the_page() -> None:
    made = page("s", "![a dream](figures/dream.gif)", {"dream": b"GIF89a"})
    assert (
        '<span class="wide" role="img" aria-label="a dream">'
        '<img alt="" src="data:image/gif;base64,R0lGODlh"></span>'
    ) in made


def test_a_light_screen_has_the_colours_of_the_figures() -> None:
    look = TEMPLATES.get_template("web_page.css").render()
    assert "<style>\n" + look + "</style>" in page("s", "", {})
    light = look[: look.index("@media")]
    assert dict(re.findall(r"--(\w+): (#\w{6});", light)) == {
        "ink": "#1b1f24",
        "paper": "#ffffff",
        "panel": "#f4f6f8",
        "muted": style.GREY,
        "grid": style.LIGHT,
        "blue": style.BLUE,
        "sky": style.SKY,
        "vermillion": style.VERMILLION,
        "orange": style.ORANGE,
    }
