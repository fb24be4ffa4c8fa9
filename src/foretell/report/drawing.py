"""Matplotlib figures as SVG text that belongs in a page: the page's colours, its font, no ids that clash.

Figures are drawn in sentinel colours (:data:`INK` and its like), which :func:`inline_svg` replaces by CSS variables, so
that one picture follows light and dark, and :func:`standalone_svg` by a light palette. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Colours nobody would choose, so that replacing them in the SVG's text cannot touch anything else.
INK, FAINT, LAW, OUTCOME, RUNG, PAPER = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {INK: "ink", FAINT: "faint", LAW: "law", OUTCOME: "outcome", RUNG: "rung", PAPER: "paper"}
# The light palette, equal to the variables of the page's style sheet in its light form.
LIGHT = {INK: "#1b1f24", FAINT: "#d5d9de", LAW: "#1d5fbf", OUTCOME: "#c2410c", RUNG: "#1b1f24", PAPER: "#ffffff"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
POINTS_PER_INCH = 72
# Margins in points, for labels of up to five characters, an axis title and one or two rows of legend above.
LEFT, RIGHT, BOTTOM, LEGEND_ROW = 54, 14, 42, 22
# Figures narrower than this, in points, are drawn for telephones: fewer words a row.
NARROW_BELOW = 400
# The type is loose because matplotlib 3.11 names every key in it and earlier releases none.
_SETTINGS: dict[Any, Any] = {
    "figure.dpi": POINTS_PER_INCH,
    "svg.fonttype": "none",
    "svg.hashsalt": "foretell",
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handlelength": 1.6,
    "lines.solid_capstyle": "round",
}


def _render(draw: Callable[[Axes], None], width: int, height: int) -> str:
    """The SVG text of one pair of axes, ``width`` x ``height`` in points."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
        top = LEGEND_ROW * (2 if width < NARROW_BELOW else 1)
        figure.subplots_adjust(LEFT / width, BOTTOM / height, 1 - RIGHT / width, 1 - top / height)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        # After the drawing, because setting a logarithmic scale brings back the ticks between powers of ten.
        axes.xaxis.set_minor_locator(NullLocator())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def is_narrow(axes: Axes) -> bool:
    """Whether a figure is drawn for a telephone's width."""
    return axes.get_window_extent().width + LEFT + RIGHT < NARROW_BELOW


def _clean(svg: str, identity: str) -> str:
    """The drawing alone: no XML prolog, metadata or style of its own, ids prefixed by ``identity`` or dropped."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style type.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    referenced = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", body))
    body = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{identity}-{found[1]}"' if found[1] in referenced else "", body
    )
    body = re.sub(r'xlink:href="#', f'href="#{identity}-', body)
    body = re.sub(r"url\(#", f"url(#{identity}-", body)
    return re.sub(r"\n\s*", "\n", body[body.index(">") + 1 :])


def _open_tag(width: int, height: int, label: str, identity: str, attributes: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(label)} id="{identity}" '
        f'{attributes} stroke-linejoin="round">'
    )


def inline_svg(draw: Callable[[Axes], None], width: int, height: int, label: str, identity: str) -> str:
    """SVG to set into HTML: colours are ``var(--figure-...)``, the font is the page's, ids start with ``identity``."""
    body = _clean(_render(draw, width, height), identity)
    for sentinel, name in _VARIABLES.items():
        body = body.replace(sentinel, f"var(--figure-{name})")
    return _open_tag(width, height, label, identity, f'style="max-width: {width * 4 / 3:.0f}px"') + body


def standalone_svg(draw: Callable[[Axes], None], width: int, height: int, label: str, identity: str) -> str:
    """A whole SVG file on a light background, in points of ``width`` x ``height``."""
    body = _clean(_render(draw, width, height), identity)
    for sentinel, colour in LIGHT.items():
        body = body.replace(sentinel, colour)
    attributes = f'xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" font-family="{FONT}"'
    background = f'<rect width="{width}" height="{height}" fill="{LIGHT[PAPER]}"/>'
    return _open_tag(width, height, label, identity, attributes) + background + body
