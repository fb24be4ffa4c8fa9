"""Matplotlib figures as SVG text that belongs in a page: the page's colours, its font, no ids that clash.

Figures are drawn in sentinel colours (:data:`INK` and its like), which :func:`inline_svg` replaces by CSS variables, so
that one picture follows light and dark, and :func:`write_figure` by a light palette. In SVG, text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import NullLocator

from foretell.core.errors import UserError
from foretell.core.files import write_atomic

# Colours nobody would choose, so that replacing them in the SVG's text cannot touch anything else.
INK, FAINT, LAW, OUTCOME, RUNG, PAPER = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {INK: "ink", FAINT: "faint", LAW: "law", OUTCOME: "outcome", RUNG: "rung", PAPER: "paper"}
# The light palette, equal to the variables of the page's style sheet in its light form.
LIGHT = {INK: "#1b1f24", FAINT: "#d5d9de", LAW: "#1d5fbf", OUTCOME: "#c2410c", RUNG: "#1b1f24", PAPER: "#ffffff"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
POINTS_PER_INCH = 72
PIXELS_PER_INCH = 200  # of PNG
FIGURE_SUFFIXES = (".svg", ".png")
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


def _figure(draw: Callable[[Axes], None], width: int, height: int, legend_rows: int | None) -> Figure:
    """One pair of axes, ``width`` x ``height`` in points, with room for the rows of its legend."""
    figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
    top = LEGEND_ROW * (legend_rows or (2 if width < NARROW_BELOW else 1))
    figure.subplots_adjust(LEFT / width, BOTTOM / height, 1 - RIGHT / width, 1 - top / height)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    draw(axes)
    # After the drawing, because setting a logarithmic scale brings back the ticks between powers of ten.
    axes.xaxis.set_minor_locator(NullLocator())
    return figure


def _render(draw: Callable[[Axes], None], width: int, height: int, legend_rows: int | None) -> str:
    """The figure as SVG text in sentinel colours."""
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        buffer = io.StringIO()
        # text stays text, so a character that matplotlib's own font lacks is the reader's font's business
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        metadata = {"Date": None, "Creator": None}
        _figure(draw, width, height, legend_rows).savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def legend_above(axes: Axes, order: tuple[str, ...] = (), columns: tuple[int, int] = (5, 3)) -> None:
    """A legend above the axes, where it can hide nothing; names in ``order`` come first.

    Args:
        order: entries that lead.
        columns: how many entries a row holds on screens and on telephones.
    """
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    names = [name for name in order if name in entries] + [name for name in entries if name not in order]
    handles = [entries[name] for name in names]
    wide, narrow = columns
    fit = (
        {"ncols": narrow, "columnspacing": 0.9, "handlelength": 1.1, "handletextpad": 0.4}
        if is_narrow(axes)
        else {"ncols": wide}
    )
    axes.legend(handles, names, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.3, borderpad=0.1, **fit)


def widen_left(axes: Axes, points: float) -> None:
    """Make the left margin wider, for longer labels than usual."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.subplots_adjust(left=(LEFT + points) / (figure.get_size_inches()[0] * POINTS_PER_INCH))


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


def inline_svg(
    draw: Callable[[Axes], None], width: int, height: int, label: str, identity: str, *, legend_rows: int | None = None
) -> str:
    """SVG to set into HTML: colours are ``var(--figure-...)``, the font is the page's, ids start with ``identity``."""
    body = _clean(_render(draw, width, height, legend_rows), identity)
    for sentinel, name in _VARIABLES.items():
        body = body.replace(sentinel, f"var(--figure-{name})")
    return _open_tag(width, height, label, identity, f'style="max-width: {width * 4 / 3:.0f}px"') + body


def check_figure_path(path: Path) -> None:
    """Refuse a file whose name does not say in which format it is to be drawn.

    Raises:
        UserError: naming the formats.
    """
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise UserError(f"--figure is {str(path)!r}; a file that ends in {' or '.join(FIGURE_SUFFIXES)} is expected.")


def write_figure(
    path: Path,
    draw: Callable[[Axes], None],
    size: tuple[int, int],
    label: str,
    identity: str,
    *,
    legend_rows: int | None = None,
) -> None:
    """Write a figure as a file of its own on a light background, SVG or PNG by its suffix.

    Raises:
        UserError: where the suffix is another, or the file cannot be written.
    """
    check_figure_path(path)
    if path.suffix.lower() == ".svg":
        write_atomic(path, _standalone_svg(_render(draw, *size, legend_rows), size, label, identity) + "\n")
    else:
        write_atomic(path, _png(draw, size, label, legend_rows))


def _standalone_svg(rendered: str, size: tuple[int, int], label: str, identity: str) -> str:
    width, height = size
    body = _clean(rendered, identity)
    for sentinel, colour in LIGHT.items():
        body = body.replace(sentinel, colour)
    attributes = f'xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" font-family="{FONT}"'
    background = f'<rect width="{width}" height="{height}" fill="{LIGHT[PAPER]}"/>'
    return _open_tag(width, height, label, identity, attributes) + background + body


def _png(draw: Callable[[Axes], None], size: tuple[int, int], label: str, legend_rows: int | None) -> bytes:
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = _figure(draw, *size, legend_rows)
        figure.patch.set_visible(True)
        figure.draw_without_rendering()  # the last ticks come into being only here
        artists = figure.findobj()
        for artist in [*artists, *(text.get_bbox_patch() for text in artists if isinstance(text, Text))]:
            _exchange_colours(artist)
        buffer = io.BytesIO()
        metadata = {"Software": "Foretell", "Description": label}
        figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, facecolor=LIGHT[PAPER], metadata=metadata)
    return buffer.getvalue()


def _exchange_colours(artist: Any) -> None:
    """Give an artist the light palette where it has sentinel colours."""
    for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
        value = getattr(artist, f"get_{name}", lambda: "none")()
        if any(to_hex(row) in LIGHT for row in to_rgba_array(value)):
            colours = _exchanged(to_rgba_array(value))
            getattr(artist, f"set_{name}")(colours if isinstance(artist, Collection) else colours[0])


def _exchanged(rows: Iterable[Any]) -> list[tuple[float, float, float, float]]:
    return [to_rgba(LIGHT.get(to_hex(row), to_hex(row)), row[3]) for row in rows]
