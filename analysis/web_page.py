"""Makes one self-contained web page of Markdown and figures.

Nothing is fetched when it is opened: figures are drawn into it as SVG, with colours that the page
decides, so that they are legible on a light and on a dark screen, and in print.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from mdit_py_plugins.anchors import anchors_plugin

from analysis import style

COLOURS = {
    "#000000": "currentColor",
    style.GREY: "var(--muted)",
    style.LIGHT: "var(--grid)",
    style.BLUE: "var(--blue)",
    style.SKY: "var(--sky)",
    style.VERMILLION: "var(--vermillion)",
    style.ORANGE: "var(--orange)",
}
"""A colour of figures -> what the page has for it, on a light and on a dark screen."""

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
"""Finds ``web_page.html.j2`` and the style sheet ``web_page.css`` beside this file."""

WIDEST = 92
"""Width of a figure on the page, per inch of it, in CSS pixels."""


def page(title: str, markdown: str, figures: Mapping[str, Figure | bytes]) -> str:
    """Makes a page of Markdown, with links to its sections below its first heading.

    Args:
        title: Shown by the browser for the window.
        markdown: Images in it name figures: ``![caption](figures/NAME.png)``; of another image
            the caption is shown.
        figures: Name -> a figure, or an animation as a GIF.

    Returns:
        The HTML, which refers to nothing outside of it.
    """
    parser = _parser()
    tokens = parser.parse(markdown)
    drawn = {name: _picture(name, figure) for name, figure in figures.items()}
    body = parser.renderer.render(tokens, parser.options, drawn)
    before, end, after = body.partition("</h1>\n")
    return TEMPLATES.get_template("web_page.html.j2").render(
        title=title,
        heading=Markup(before + end),
        contents=_sections(tokens) if end else {},
        sections=Markup(after),
    )


def _parser() -> MarkdownIt:
    """Reads Markdown with tables, in which HTML is text; gives sections ids."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.use(anchors_plugin, min_level=2, max_level=2, slug_func=_slug)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _slug(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def _image(
    _: RendererProtocol,
    tokens: Sequence[Token],
    place: int,
    _options: OptionsDict,
    drawn: Mapping[str, str],
) -> str:
    """Renders an image as the drawn figure that it names, else as its caption."""
    token = tokens[place]
    name = PurePosixPath(str(token.attrs["src"])).name.partition(".")[0]
    label = escape(token.content)
    return f'<span class="wide" role="img" aria-label="{label}">{drawn.get(name, label)}</span>'


def _sections(tokens: Sequence[Token]) -> dict[str, str]:
    """Finds the sections of a page: id -> heading, without Markdown's marks."""
    return {
        str(opening.attrs["id"]): "".join(part.content for part in text.children or ())
        for opening, text in pairwise(tokens)
        if opening.type == "heading_open" and opening.tag == "h2"
    }


def _picture(name: str, figure: Figure | bytes) -> str:
    """Draws a figure as an SVG element, an animation as an image within the page."""
    if isinstance(figure, bytes):
        return f'<img alt="" src="data:image/gif;base64,{base64.b64encode(figure).decode()}">'
    return svg(name, figure)


def svg(name: str, figure: Figure) -> str:
    """Draws a figure as an SVG element without background, in the page's colours.

    Args:
        name: Keeps the element's ids apart from those of the page's other figures.
        figure: The figure, which stays as it is.
    """
    file = io.StringIO()
    with matplotlib.rc_context({**style.LOOK, "svg.hashsalt": name, "svg.fonttype": "path"}):
        style.copied(figure).savefig(
            file, format="svg", transparent=True, dpi=style.RESOLUTION, metadata={"Date": None}
        )
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)
    width = figure.get_figwidth() * WIDEST
    drawn = re.sub(
        r'<svg[^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" style="max-width: {width:.0f}px" aria-hidden="true" '
        r'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">',
        drawn,
        count=1,
    )
    for colour, own in COLOURS.items():
        drawn = re.sub(re.escape(colour), own, drawn, flags=re.IGNORECASE)
    return drawn
