"""Items are told apart by all that they ask, pictures too."""

import zipfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from foretell.core.files import content_hash
from foretell.evals.records import item_digest
from foretell.tasks.folders import find_folder
from foretell.tasks.task import Item, Option

ITEM = Item("1", "<image>\nWhat?", " a", (Option(" a"), Option(" b")), (0,), bare="Answer:")


def test_items_without_images_keep_their_digests() -> None:
    assert item_digest(ITEM) == content_hash([ITEM.prompt, [], [[" a", None], [" b", None]], [0], "Answer:"])[:16]


def test_other_pictures_are_another_item_and_another_file_of_them_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.bmp", "red")):
        Image.new("RGB", (3, 2), colour).save(folder / name)
    red, blue, again = (item_digest(replace(ITEM, images=(folder / name,))) for name in ("a.png", "b.png", "c.bmp"))
    assert len({red, blue, item_digest(ITEM)}) == 3 and again == red
    assert item_digest(replace(ITEM, images=(folder / "a.png", folder / "b.png"))) not in (red, blue)
    (tmp_path / "other").mkdir()
    with zipfile.ZipFile(tmp_path / "other" / "set.zip", "w") as archive:
        archive.write(folder / "a.png", "a.png")
    assert item_digest(replace(ITEM, images=(find_folder(tmp_path / "other", "set").image("a.png"),))) == red
