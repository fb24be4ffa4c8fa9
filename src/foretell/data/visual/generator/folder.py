"""Documents as files: pictures, and rows that say what is asked about them."""

from __future__ import annotations

import json
from pathlib import Path

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory
from foretell.core.progress import meter
from foretell.data.visual.generator.config import GeneratorConfig
from foretell.data.visual.generator.family import Split
from foretell.data.visual.generator.make import generate

DOCUMENTS_FILE = "documents.jsonl"
IMAGES = "images"


def write_folder(config: GeneratorConfig, split: Split, count: int, folder: Path) -> Path:
    """Write the documents 0 to ``count - 1`` of a split; the folder appears whole or not at all.

    Args:
        config: what to make.
        split: ``train`` or ``heldout``.
        count: one or more.
        folder: must not be there yet, or be empty.

    Returns:
        the file of rows, ``documents.jsonl``: ``{"identity", "images": ["images/0000000.png", ...], "exchanges":
        [{"question", "answer", "kind", "choices"}, ...]}``, paths from the folder.

    Raises:
        UserError: for a count below one, a folder that holds something, a full disk, or another split.
    """
    if count < 1:
        raise UserError(f"count is {count}: a number of documents from 1 on is expected.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; name a folder that is new or empty.")
    with atomic_directory(folder) as temporary, meter(f"drawing {split} images", count) as shown:
        (temporary / IMAGES).mkdir()
        with (temporary / DOCUMENTS_FILE).open("w", encoding="utf-8") as file:
            for index in range(count):
                document = generate(config, index, split)
                names = [f"{IMAGES}/{index:07d}{f'_{n}' if n else ''}.png" for n in range(len(document.images))]
                for name, image in zip(names, document.images, strict=True):
                    image.save(temporary / name)
                exchanges = [
                    {"question": e.question, "answer": e.answer, "kind": e.kind, "choices": list(e.choices)}
                    for e in document.exchanges
                ]
                row = {"identity": document.identity, "images": names, "exchanges": exchanges}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                shown.advance()
    return folder / DOCUMENTS_FILE
