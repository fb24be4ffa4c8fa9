"""Small questions about images: what colour a square has, and whether it is red."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from foretell.core.files import write_json
from foretell.data.tokenizer import Tokenizer
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.encode import VisualEncoder
from foretell.data.visual.store import SplitWriter
from foretell.model.config import ModelConfig
from foretell.model.vision_config import VisionConfig

ROOM = 96
SEEING = ModelConfig(
    vocab_size=400, width=32, depth=2, heads=2, kv_heads=2, head_dim=16, ffn_width=96, context=ROOM, base_width=32,
    vision=VisionConfig(patch=8, width=32, depth=1, heads=2, head_dim=16, ffn_width=96, longest=32, base_width=32,
                        image_token=3),
)  # fmt: skip
"""A model that reads the documents of :func:`visual_data`."""
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "grey": (120, 120, 120)}


def documents(count: int, seed: int = 0, sizes: tuple[int, ...] = (16,)) -> Iterator[VisualDocument]:
    """Squares of one colour in the size of the image, two questions each."""
    draw = np.random.Generator(np.random.PCG64(seed))
    for number in range(count):
        colour = list(COLOURS)[draw.integers(4)]
        image = Image.new("RGB", (int(draw.choice(sizes)), int(draw.choice(sizes))), COLOURS[colour])
        asked = "red" if draw.random() < 0.5 else colour
        exchanges = (
            Exchange("which colour is it?", colour, "colour"),
            Exchange(f"is it {asked}?", "yes" if asked == colour else "no", "exists"),
        )
        yield VisualDocument((image,), exchanges, f"square/{number}", f"square/{number}")


def visual_tokenizer() -> Tokenizer:
    """400 entries, trained on the questions."""
    words = "\n".join(f"{e.question} {e.answer}" for d in documents(50) for e in d.exchanges)
    return Tokenizer.train([words, Path(__file__).read_text(), "def a(b):\n    return b\n" * 20], 300)


def visual_store(folder: Path, tokenizer: Tokenizer, room: int = ROOM, **changes: tuple[int, ...]) -> VisualEncoder:
    """A store of 120 training and 40 held-out documents in ``folder``, patches of 8 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = VisualEncoder.of(tokenizer, patch=8, longest=32)
    splits = {}
    for split, count, seed in (("train", 120, 1), ("heldout", 40, 2)):
        with SplitWriter(folder, split) as writer:
            for document in documents(count, seed, **changes):
                writer.write(document, encoder.encode(document))
        splits[split] = writer.finish(room)
    half = {"train_pieces": 60, "heldout_pieces": 20}
    write_json(folder / "index.json", {
        "patch": 8, "longest": 32, "room": room, "splits": splits,
        "sources": [{"label": "one", **half}, {"label": "other", **half}],
    })  # fmt: skip
    return encoder


def visual_data(folder: Path, small_corpus: Path, **changes: tuple[int, ...]) -> Path:
    """``folder`` with the tokens of a corpus and a store of documents in its tokenizer: what a run learns from."""
    shutil.copytree(small_corpus / "tokens", folder / "tokens")
    visual_store(folder / "visual", Tokenizer.from_file(small_corpus / "tokenizer" / "tokenizer.json"), **changes)
    return folder
