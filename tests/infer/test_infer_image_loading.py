"""Directories of models that read images: in with their tokens, out for transformers, and not as GGUF."""

import json
from pathlib import Path

import pytest
import seeing_model
import small_model
from seeing_model import TOKENS, VISION

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.infer.loading import load_model
from foretell.model.hf import save_hf

OWN = (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_model.tokenizer().save(tmp_path / "seeing")
    save_hf(seeing_model.decoder(), tmp_path / "seeing", image_tokens=OWN)
    return tmp_path / "seeing"


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("stated", [True, False])
def test_a_directory_says_how_images_are_written(folder: Path, stated: bool) -> None:
    if not stated:
        (folder / "processor_config.json").unlink()
    model = load_model(str(folder))
    assert model.images.tokens == TOKENS and model.images.vision.longest == VISION.longest
    assert model.chat.image_token == IMAGE_TOKEN
    image = model.images.prepared(seeing_model.picture(64, 40))
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": f"what is {IMAGE_TOKEN}?"}]}
    ids = model.images.expanded(model.chat.encode([message]), [image])
    run = seeing_model.run(image)
    assert image.grid(VISION.patch) == (5, 8) and ids.count(TOKENS.image) == 40, "words are no images"
    assert any(tuple(ids[start : start + len(run)]) == run for start in range(len(ids)))


def test_other_names_are_read_from_the_processor(folder: Path) -> None:
    change(folder / "processor_config.json", image_break_token="<|reserved_7|>", image_end_token="<|reserved_8|>")
    model = load_model(str(folder))
    assert model.image_names == (IMAGE_TOKEN, "<|reserved_7|>", "<|reserved_8|>")
    assert (model.images.tokens.line_break, model.images.tokens.end) == (11, 12)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"image_token": "<|reserved_5|>"}, r"'<\|reserved_5\|>' has the id 9, and the model's image token is 3"),
     ({"image_end_token": "<nothing>"}, "no token '<nothing>'"),
     ({"patch_size": 16}, "patch_size is 16; 4 is read"), ({"spatial_merge_size": 2}, "spatial_merge_size is 2; 1 is")],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(folder: Path, values: dict, words: str) -> None:
    change(folder / "processor_config.json", **values)
    with pytest.raises(UserError, match=words):
        load_model(str(folder))


def test_a_processor_without_names_has_pixtrals(folder: Path) -> None:
    path = folder / "processor_config.json"
    path.write_text(json.dumps({"processor_class": "PixtralProcessor"}))
    with pytest.raises(UserError, match=r"no token '\[IMG\]'"):
        load_model(str(folder))
    path.write_text("[]")
    with pytest.raises(UserError, match="an object is expected"):
        load_model(str(folder))


def test_it_leaves_as_a_directory_with_all_its_files_and_not_as_gguf(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["export", str(folder), str(tmp_path / "out")]) == 0
    for name in ("preprocessor_config.json", "processor_config.json", "config.json", "tokenizer.json"):
        assert json.loads((tmp_path / "out" / name).read_text())
    first, second = load_model(str(folder)), load_model(str(tmp_path / "out"))
    assert second.image_names == first.image_names == OWN and second.decoder.config == first.decoder.config
    capsys.readouterr()
    assert main(["export", str(folder), str(tmp_path / "x.gguf")]) == 2
    assert "vision half, which a GGUF file does not hold" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "x.gguf").exists()


def test_a_text_model_reads_no_images(small_folder: Path) -> None:
    assert load_model(str(small_folder)).images is None


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    small_model.tokenizer().save(tmp_path / "small")
    save_hf(small_model.decoder(), tmp_path / "small")
    return tmp_path / "small"
