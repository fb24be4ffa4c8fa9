"""A sheet of examples, for people who would rather look."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw

from foretell.core.errors import UserError
from foretell.data.visual.documents import VisualDocument
from foretell.data.visual.generator.config import GeneratorConfig
from foretell.data.visual.generator.family import Split
from foretell.data.visual.generator.fonts import load_font
from foretell.data.visual.generator.make import generate

MARGIN = 8
LINE = 14
TEXT = (380, 62)  # pixels, and characters, of a line of text
INK, ANSWER, PAPER = (20, 20, 20), (0, 110, 60), (255, 255, 255)


def contact_sheet(
    config: GeneratorConfig, split: Split, count: int, first: int = 0, columns: int = 2, scale: int = 2
) -> Image.Image:
    """The documents ``first`` to ``first + count - 1``, each ``scale`` times its size beside its questions.

    Raises:
        UserError: where ``count``, ``columns`` or ``scale`` is below one, or as :func:`generate` does.
    """
    for name, value in (("count", count), ("columns", columns), ("scale", scale)):
        if value < 1:
            raise UserError(f"{name} of a contact sheet is {value}: a number from 1 on is expected.")
    cells = [_cell(generate(config, index, split), scale) for index in range(first, first + count)]
    width, height = (max(cell.size[axis] for cell in cells) for axis in (0, 1))
    sheet = Image.new("RGB", (width * columns, height * -(-count // columns)), PAPER)
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * width, number // columns * height))
    return sheet


def _cell(document: VisualDocument, scale: int) -> Image.Image:
    """A document's images one above the other, its questions to their right."""
    images = [image.resize((image.width * scale, image.height * scale), 0) for image in document.images]
    lines = [
        (line, colour)
        for exchange in document.exchanges
        for text, colour in ((exchange.question, INK), (f"→ {exchange.answer}   [{exchange.kind}]", ANSWER))
        for part in text.splitlines()
        for line in textwrap.wrap(part, TEXT[1])
    ]
    across = max(image.width for image in images)
    down = max(sum(image.height + MARGIN for image in images), LINE * len(lines)) + MARGIN
    cell = Image.new("RGB", (across + TEXT[0] + 3 * MARGIN, down + MARGIN), PAPER)
    top = MARGIN
    for image in images:
        cell.paste(image, (MARGIN, top))
        top += image.height + MARGIN
    canvas, font = ImageDraw.Draw(cell), load_font("DejaVuSans", 11)
    for number, (line, colour) in enumerate(lines):
        canvas.text((across + 2 * MARGIN, MARGIN + LINE * number), line, fill=colour, font=font)
    canvas.rectangle((0, 0, cell.width - 1, cell.height - 1), outline=(200, 200, 200))
    return cell
