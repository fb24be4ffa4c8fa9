"""Fonts: those that matplotlib ships, so that they are the same wherever it is installed; the splits share none."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from foretell.core.errors import UserError
from foretell.data.visual.generator.family import Split

# The designs differ between the splits, not only their weights.
FONTS: dict[Split, tuple[str, ...]] = {
    "train": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono", "cmr10", "cmb10"),
    "heldout": ("STIXGeneral", "STIXGeneralBol", "cmss10"),
}
# Of small text: those that are told apart at 9 pixels.
PLAIN_FONTS: dict[Split, tuple[str, ...]] = {
    "train": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif"),
    "heldout": ("STIXGeneralBol", "cmss10"),
}
MONO_FONTS: dict[Split, tuple[str, ...]] = {"train": ("DejaVuSansMono", "DejaVuSansMono-Bold"), "heldout": ("cmtt10",)}


@cache
def _folder() -> Path:
    # its place without importing it, which takes a third of a second
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise UserError("matplotlib is missing, whose fonts print words here; pip install matplotlib.")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@cache
def load_font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font at a size.

    Raises:
        UserError: where matplotlib, or its font of that name, is missing.
    """
    path = _folder() / f"{name}.ttf"
    try:
        return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"{path} is missing or no font ({error}); install matplotlib again.") from error


def fitting_font(name: str, texts: tuple[str, ...], width: float, pixels: int, least: int) -> ImageFont.FreeTypeFont:
    """The font at ``pixels``, or at as many as the longest text allows to be no wider than ``width``; never under
    ``least``."""
    font = load_font(name, pixels)
    longest = max(font.getlength(text) for text in texts)
    return font if longest <= width else load_font(name, max(least, int(pixels * width / longest)))
