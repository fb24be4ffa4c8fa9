"""Files of images with texts, in every layout that is read, and what is said of those that cannot be."""

import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.data.stream import IGNORED
from foretell.data.visual.config import VisualConfig
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.encode import VisualEncoder, encode_within
from foretell.data.visual.rows import document_of
from foretell.data.visual.sources import read_visual
from foretell.data.visual.store import SplitWriter
from visual_documents import visual_tokenizer

TOKENIZER = visual_tokenizer()
ENCODER = VisualEncoder.of(TOKENIZER, patch=8, longest=32)
COLOURS = {"red.png": (255, 0, 0), "blue.jpg": (0, 0, 255), "lime.webp": (0, 255, 0)}
ASKED = [{"question": "which?", "answer": "red", "kind": "colour", "choices": ["red", "blue"]}]
TALK = [{"role": "user", "content": [{"type": "image", "image": "red.png"}, {"type": "text", "text": "And "},
                                     {"type": "image_url", "image_url": {"url": "sub/blue.jpg"}}]},
        {"role": "assistant", "content": "Two."}]  # fmt: skip


def picture(name: str, size: tuple[int, int] = (9, 7)) -> bytes:
    target = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[-1]]
    Image.new("RGB", size, COLOURS[name]).save(target, kind, quality=100)
    return target.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "red.png").write_bytes(picture("red.png"))
    (tmp_path / "sub" / "blue.jpg").write_bytes(picture("blue.jpg"))
    return tmp_path


def rows(path: Path, *given: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path


def shades(document: VisualDocument) -> list[str]:
    """Names of the colours of the images."""
    names = {tuple(round(part / 255) for part in colour): name.split(".")[0] for name, colour in COLOURS.items()}
    return [names[tuple(round(part / 255) for part in image.getpixel((0, 0)))] for image in document.images]


def only(path: Path) -> VisualDocument:
    (document,) = read_visual(path)
    return document


def test_questions(folder):
    first, second = read_visual(
        rows(folder / "a.jsonl", {"images": ["red.png", "sub/blue.jpg"], "exchanges": ASKED},
             {"image": "red.png", "question": "what?", "answer": "a square"})
    )  # fmt: skip
    assert shades(first) == ["red", "blue"] and shades(second) == ["red"]
    assert first.exchanges == (Exchange("which?", "red", "colour", ("red", "blue")),)
    assert second.exchanges == (Exchange("what?", "a square"),) == second.asked
    assert first.group == second.group and (first.identity, second.identity) == ("a.jsonl/1", "a.jsonl/2")


def test_conversations(folder):
    inline = "data:image/png;base64," + base64.b64encode(picture("red.png")).decode()
    marked = [{"role": "user", "content": "<image>Compare with <image>"}, {"role": "assistant", "content": "Two."}]
    spoken = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "Red."}]
    documents = list(
        read_visual(
            rows(folder / "a.jsonl", {"messages": TALK}, {"messages": marked, "images": [inline, "sub/blue.jpg"]},
                 {"image": "red.png", "conversations": spoken},
                 {"messages": [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "Text?"}]})
        )
    )  # fmt: skip
    assert [shades(document) for document in documents] == [["red", "blue"], ["red", "blue"], ["red"], []]
    image, text = {"type": "image"}, "text"
    assert documents[0].messages[0]["content"] == (image, {"type": text, text: "And "}, image)
    assert documents[1].messages[0]["content"] == (image, {"type": text, text: "Compare with "}, image)
    assert [turn["role"] for turn in documents[2].messages] == ["user", "assistant"]
    assert documents[3].messages[0]["content"] == ({"type": text, text: "<image>"},)
    assert documents[2].asked == (Exchange("\nWhich?", "Red.", "conversation"),)
    assert documents[0].group == documents[1].group, "the same bytes, wherever they are"


def test_texts_with_images_in_them(folder):
    content = ["Here is ", {"type": "image", "path": "red.png"}, {"type": "text", "text": " and there."}]
    document, same = read_visual(
        rows(folder / "a.ndjson", {"content": content}, {"parts": "Here is <image> and there.", "images": ["red.png"]})
    )
    assert document.parts == same.parts and shades(document) == ["red"] and not list(document.conversations())
    assert document.asked == (Exchange("", "Here is  and there.", "text"),)
    (tmp := folder / "b.json").write_text(json.dumps([{"text": "A square.", "image": "red.png"}]))
    assert only(tmp).parts == ({"type": "image"}, {"type": "text", "text": "A square."})


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz"])
def test_tars(tmp_path, suffix):
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}[suffix]
    files = {
        "a/1.png": picture("red.png"), "a/1.txt": b"A red square.\n", "a/2.jpg": picture("blue.jpg"),
        "a/2.json": json.dumps({"exchanges": ASKED}).encode(), "a/2.cls": b"4", "b/1.0.png": picture("red.png"),
        "b/1.1.webp": picture("lime.webp"),
        "b/1.json": json.dumps({"caption": "Two", "images": ["1.1.webp", "1.0.png"]}).encode(),
        "c.txt": b"no image", "../../d.png": picture("red.png"), "../../d.txt": b"Upwards.",
    }  # fmt: skip
    with tarfile.open(tmp_path / f"x{suffix}", mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for kind, name in ((tarfile.SYMTYPE, "e.png"), (tarfile.LNKTYPE, "e.txt"), (tarfile.CHRTYPE, "e.json")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    before = sorted(tmp_path.parent.rglob("*"))
    documents = list(read_visual(tmp_path / f"x{suffix}"))
    assert [shades(document) for document in documents] == [["red"], ["blue"], ["lime", "red"], ["red"]]
    assert [document.asked[0].answer for document in documents] == ["A red square.", "red", "Two", "Upwards."]
    assert documents[0].identity == f"x{suffix}/a/1" and sorted(tmp_path.parent.rglob("*")) == before


def test_folders(folder):
    (folder / "red.txt").write_text("A red square.\n")
    (folder / "sub" / "blue.json").write_text(json.dumps({"exchanges": ASKED}))
    (folder / "sub" / "lime.webp").write_bytes(picture("lime.webp"))
    first, second = read_visual(folder)
    assert first.asked[0].answer == "A red square." and second.exchanges[0].answer == "red"
    assert (first.identity, second.identity) == ("red.png", "sub/blue.jpg")
    rows(folder / "sub" / "metadata.jsonl", {"file_name": "blue.jpg", "text": "A blue one."})
    assert only(folder).asked[0].answer == "A blue one."


@pytest.mark.parametrize("packed", [False, True])
def test_easy_vqa(tmp_path, packed):
    questions = json.dumps(
        [["what shape?", "circle", 10], ["is it red?", "yes", 2], ["what color?", "red", 2]]
    ).encode()
    files = {"train/questions.json": questions, "train/images/2.png": picture("red.png"), "answers.txt": b"red",
             "train/images/10.png": picture("red.png")}  # fmt: skip
    if packed:
        with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    path = tmp_path / ("e.zip" if packed else "train")
    first, second = read_visual(path)
    assert [(e.answer, e.kind) for e in first.exchanges] == [("yes", "exists"), ("red", "colour")]
    assert (second.identity, second.exchanges[0].kind, shades(second)) == ("easy-vqa/10", "shape", ["red"])
    (tmp_path / "train" / "images" / "2.png").write_bytes(b"x")
    (tmp_path / "train" / "images" / "10.png").unlink()
    with pytest.raises(UserError, match=r"images/2.png is no image of a known format"):
        list(read_visual(tmp_path / "train"))
    assert list(read_visual(tmp_path / "train", "skip")) == []


@pytest.mark.parametrize(
    ("row", "words"),
    [({"image": "none.png", "text": "x"}, r"a.jsonl line 1: the file .*none.png does not exist"),
     ({"image": "a.jsonl", "text": "x"}, "line 1: the image a.jsonl is no image of a known format"),
     ({"image": "sub", "text": "x"}, "sub does not exist"),
     ({"image": "http://x.org/a.png", "text": "x"}, "is an address, and nothing is fetched in training"),
     ({"image": "file:///etc/passwd", "text": "x"}, "is an address"),
     ({"image": "data:image/png;base64,AAAA", "text": "x"}, "is no image of a known format"),
     ({"image": "data:text/html,x", "text": "x"}, "begins with 'data:text/html,x'"),
     ({"image": 3, "text": "x"}, "the image 3 is none"), ({"text": "x"}, "has the fields 'text'; images with"),
     ({"image": "red.png", "text": "\ud800"}, "half of a surrogate pair"),
     ({"images": [], "exchanges": ASKED}, r"images is \[\]; a list of file names"),
     ({"images": ["red.png"], "exchanges": []}, r"exchanges is \[\]; a list of questions"),
     ({"images": ["red.png"], "exchanges": [{"question": "x"}]}, r"exchanges\[0\].answer is None; a text"),
     ({"image": "red.png", "question": "x", "answer": "y", "choices": 3}, "choices is 3; a list of texts"),
     ({"messages": []}, "messages is missing or empty"), ({"messages": TALK[:1]}, "no message is the assistant's"),
     ({"messages": [{"role": "tool", "content": "x"}]}, "role is 'tool'"),
     ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "part of type 'audio'"),
     ({"messages": TALK, "images": ["red.png"]}, "has 1 more images than places for them"),
     ({"messages": [{"role": "user", "content": [{"type": "image"}]}, TALK[1]]}, "more places for images than images"),
     ({"content": [{"type": "image", "image": "red.png"}]}, "content has no text"),
     ({"content": [3]}, "has a part '3'; text and image parts"), ({"content": {}}, "content is {}; a text or a list")],
)  # fmt: skip
def test_bad_rows_get_one_sentence(folder, row, words):
    path = rows(folder / "a.jsonl", row, {"image": "red.png", "text": "good"})
    with pytest.raises(UserError, match=words) as error:
        list(read_visual(path))
    assert str(error.value).count("\n") == 0
    assert [document.asked[0].answer for document in read_visual(path, "skip")] == ["good"]


def test_what_is_left_out_is_counted(folder, capsys):
    assert list(read_visual(rows(folder / "a.jsonl", *[{"image": "none.png", "text": "x"}] * 9), "skip")) == []
    said = capsys.readouterr().err
    assert said.count("left out: ") == 5 and "9 documents of" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("none.jsonl", None, "does not exist"), ("x.csv", b"", "of no known kind"), ("x.json", b"{", "is not JSON"),
     ("x.json", b"{}", "is no list of objects"), ("x.jsonl", b"{", "line 1 is not JSON"),
     ("x.tar", b"x" * 600, "is not a tar"),
     ("x.tar.gz", b"x", "is cut short or is not a .gz"),
     ("x.tar", b"\0" * 10240, "has no image with a text of the same name"),
     ("questions.json", b"[[1]]", "is no list of .question, answer, image.")],
)  # fmt: skip
def test_bad_files_get_one_sentence(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    path = tmp_path if name == "questions.json" else tmp_path / name
    with pytest.raises(UserError, match=words):
        list(read_visual(path, "skip"))


def test_a_folder_without_texts_is_refused(folder):
    with pytest.raises(UserError, match=r"has no image with a .txt or .json of its name, and no metadata.jsonl"):
        list(read_visual(folder))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["a.png", "<image>", "user"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "text", "image", "image_url", "url", "role", "content", "from", "value",
                                       "question", "answer", "kind", "choices"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = ["images", "image", "file_name", "exchanges", "question", "answer", "messages", "conversations", "content",
        "parts", "caption", "text", "kind", "choices"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5))
def test_any_row_is_a_document_or_a_sentence(row):
    try:
        document = document_of(row, lambda name: picture("red.png"), "x line 1", "x/1")
    except UserError as error:
        assert str(error).startswith("x line 1") and str(error).endswith(".")
        return
    ENCODER.encode(document)
    assert document.asked


def test_a_conversation_is_learned_where_the_assistant_speaks(folder):
    document = only(rows(folder / "a.jsonl", {"messages": [*TALK, TALK[0] | {"content": "why?"}, TALK[1]]}))
    encoded = ENCODER.encode(document)
    assert set(encoded.branches) == {0} and encoded.grids == ((1, 2), (1, 2))
    assert (encoded.inputs == ENCODER.tokens.image).sum() == len(encoded.patches) == 4
    learned = encoded.labels[encoded.labels != IGNORED].tolist()
    assert TOKENIZER.decode(learned) == "Two.Two." and learned[-1] == TOKENIZER.special_token_id("<|im_end|>")
    assert encode_within(ENCODER, document, 10) == []


def test_a_text_is_learned_whole_but_for_its_images(folder):
    document = only(rows(folder / "a.jsonl", {"content": "See <image> here.", "images": ["red.png"]}))
    encoded = ENCODER.encode(document)
    end, encode = TOKENIZER.end_of_text_id, TOKENIZER.encode
    run = ENCODER.tokens.run(1, 2)
    assert encoded.inputs.tolist() == [end, *encode("See "), *run, *encode(" here.")]
    ignored = [IGNORED] * len(run)
    assert encoded.labels.tolist() == [*encode("See "), *ignored, *encode(" here."), end]


def test_what_is_asked_is_written_once_a_document(folder):
    documents = list(
        read_visual(rows(folder / "a.jsonl", {"messages": TALK}, {"content": "x<image>", "image": "red.png"}))
    )
    with SplitWriter(folder, "train") as writer:
        for document in documents:
            writer.write(document, ENCODER.encode(document))
    assert writer.finish(64)["questions"] == 2
    kinds = [json.loads(line)["kind"] for line in (folder / "train.questions.jsonl").read_text().splitlines()]
    assert kinds == ["conversation", "text"]
    assert np.load(folder / "train.tables.npz")["images"].tolist() == [0, 2, 3]


def test_the_examples_of_the_page_are_read():
    page = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    block, found = page.split("```json\n")[1].split("```")[0].strip(), []
    while block:
        row, end = json.JSONDecoder().raw_decode(block)
        found.append(document_of(row, lambda name: picture("red.png"), "row", "row"))
        block = block[end:].strip()
    assert len(found) == 7 and all(len(document.images) == 1 for document in found)
    settings = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["visual"]
    assert build(VisualConfig, settings).sources[0].augment.variants == 4
