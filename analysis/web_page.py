"""Markdown and figures as one self-contained web page.

Nothing is fetched when it is opened: figures are drawn into it as SVG, with colours that the page
decides, so that they are legible on a light and on a dark screen, and in print.
"""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from matplotlib.figure import Figure

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
"""A figure's colour -> the page's."""

LOOK = f"""
:root {{
  color-scheme: light dark;
  --ink: #1b1f24; --paper: #ffffff; --muted: {style.GREY}; --grid: {style.LIGHT};
  --panel: #f4f6f8; --blue: {style.BLUE}; --sky: {style.SKY};
  --vermillion: {style.VERMILLION}; --orange: {style.ORANGE};
}}
@media screen and (prefers-color-scheme: dark) {{
  :root {{
    --ink: #e6e8eb; --paper: #15181c; --muted: #a5adb6; --grid: #3a4047; --panel: #1f242a;
    --blue: #4aa3df; --sky: #a6dbf7; --vermillion: #f0803c; --orange: #f2b33d;
  }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, sans-serif;
}}
h1 {{ font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }}
h2 {{
  font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--grid);
}}
h3 {{ font-size: 1.05rem; margin: 1.75rem 0 .5rem; }}
a {{ color: var(--blue); }}
nav ul {{ list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }}
blockquote {{
  margin: 1rem 0; padding: .75rem 1rem; background: var(--panel);
  border-left: 4px solid var(--blue);
}}
blockquote p {{ margin: .25rem 0; }}
code, pre {{ font: .875em/1.5 ui-monospace, monospace; background: var(--panel); }}
code {{ padding: .1em .3em; overflow-wrap: anywhere; }}
pre {{ padding: .75rem 1rem; overflow-x: auto; }}
pre code {{ padding: 0; overflow-wrap: normal; }}
.wide {{ display: block; overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: .875rem; }}
th, td {{
  padding: .35rem .5rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--grid); font-variant-numeric: tabular-nums;
}}
th {{ font-weight: 600; }}
td:not(:last-child) {{ min-width: 3.5rem; }}
p:has(> .wide) + p {{ font-size: .9rem; color: var(--muted); }}
.wide svg {{ display: block; min-width: 34rem; width: 100%; height: auto; fill: currentColor; }}
.wide img {{ display: block; max-width: 100%; min-width: 34rem; height: auto; }}
@media print {{
  body {{ max-width: none; padding: 0; font-size: 10.5pt; }}
  nav {{ display: none; }}
  .wide {{ overflow: visible; break-inside: avoid; }}
  .wide svg, .wide img {{ min-width: 0; }}
  h2, h3 {{ break-after: avoid; }}
}}
"""

WIDEST = 92
"""Width of a figure on the page, per inch of it, in CSS pixels."""


def page(title: str, markdown: str, figures: Mapping[str, Figure | bytes]) -> str:
    """A page of Markdown.

    Args:
        title: Of the window.
        markdown: Images in it name figures: ``![caption](figures/NAME.png)``; of another image
            the caption is shown.
        figures: Name -> a figure, or an animation as a GIF.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    headings = _numbered(tokens)
    drawn = {name: _picture(name, figure) for name, figure in figures.items()}

    def image(tokens: Sequence[Token], place: int, *_: Any) -> str:
        token = tokens[place]
        name = str(token.attrs["src"]).rpartition("/")[2].partition(".")[0]
        label = html.escape(token.content)
        return (
            f'<span class="wide" role="img" aria-label="{label}">{drawn.get(name, label)}</span>'
        )

    rules: dict[str, Any] = {
        "image": image,
        "table_open": lambda *_: '<div class="wide"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
    }
    renderer = RendererHTML()
    renderer.rules |= rules
    body = renderer.render(tokens, parser.options, {})
    contents = "".join(f'<li><a href="#{key}">{text}</a></li>' for key, text in headings.items())
    body = body.replace("</h1>", f"</h1>\n<nav><ul>{contents}</ul></nav>", 1)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{LOOK}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _numbered(tokens: Sequence[Token]) -> dict[str, str]:
    """Gives the sections ids; returns id -> heading."""
    found = {}
    for opening, text in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h2":
            key = re.sub(r"\W+", "-", text.content.lower()).strip("-")
            opening.attrSet("id", key)
            found[key] = html.escape(text.content)
    return found


def _picture(name: str, figure: Figure | bytes) -> str:
    if isinstance(figure, bytes):
        return f'<img alt="" src="data:image/gif;base64,{base64.b64encode(figure).decode()}">'
    return svg(name, figure)


def svg(name: str, figure: Figure) -> str:
    """A figure as an SVG element without background.

    Args:
        name: Keeps its ids apart from those of the page's other figures.
        figure: The figure.
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
