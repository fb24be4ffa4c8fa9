"""Colours by name, and grounds on which they are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.shapes import Colour

COLOURS: dict[str, Colour] = {
    "red": (220, 30, 30),
    "green": (20, 150, 40),
    "blue": (35, 70, 230),
    "yellow": (245, 210, 0),
    "orange": (250, 130, 10),
    "purple": (130, 30, 170),
    "gray": (130, 130, 130),
    "brown": (120, 70, 25),
    "pink": (250, 130, 190),
    "teal": (0, 160, 165),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
BY_LEVEL = {1: 4, 2: 7, 3: 10}  # how many of them a level has, besides black or white


@dataclass(frozen=True)
class Ground:
    """What lies behind the things of a picture.

    Attributes:
        dark: whether white is seen on it, else black is.
        colour: its mean.
        slope: by how much its brightness rises from left to right, and from top to bottom.
        noise: the largest deviation of a pixel's channel.
        seed: of the noise.
    """

    dark: bool
    colour: Colour
    slope: tuple[int, int] = (0, 0)
    noise: int = 0
    seed: int = 0

    def names(self, level: int) -> tuple[str, ...]:
        """Colours of a level that are seen on it."""
        return (*tuple(COLOURS)[: BY_LEVEL[level]], "white" if self.dark else "black")


def draw_ground(draws: Draws, level: int) -> Ground:
    """A light or a dark ground; from level 2 on some are noisy or rise in brightness."""
    dark = draws.coin()
    low, high = (0, 30) if dark else (225, 255)
    red, green, blue = (draws.between(low, high) for _ in range(3))
    slope, noise = (0, 0), 0
    if level > 1 and draws.coin():
        slope = (draws.between(-12, 12), draws.between(-12, 12))
    if level > 1 and draws.coin():
        noise = draws.between(4, 8 * level)
    return Ground(dark, (red, green, blue), slope, noise, draws.below(1 << 32))


def varied(draws: Draws, name: str, level: int) -> Colour:
    """A colour of that name; the same one at level 1, a little lighter, darker or tinted above."""
    if level == 1:
        return COLOURS[name]
    light = draws.between(-10, 10)
    red, green, blue = (min(255, max(0, part + light + draws.between(-5, 5))) for part in COLOURS[name])
    return red, green, blue


def textured(image: Image.Image, ground: Ground) -> Image.Image:
    """A picture that was drawn on the plain ground, with its slope and its noise."""
    if ground.slope == (0, 0) and not ground.noise:
        return image
    pixels = np.asarray(image, np.int16)
    height, width = pixels.shape[:2]
    across, down = ground.slope
    rise = np.linspace(-across, across, width)[None, :] + np.linspace(-down, down, height)[:, None]
    pixels = pixels + rise.astype(np.int16)[:, :, None]
    if ground.noise:
        grain = Draws("grain", ground.seed).grain(height, width, 3).astype(np.int16)
        pixels = pixels + grain % (2 * ground.noise + 1) - ground.noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
