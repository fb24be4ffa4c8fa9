"""Images in chats: transformers' renderings of lists of parts, one token an image, spans after runs are in."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foretell.core.errors import UserError
from foretell.data.chat import ChatTemplate
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.images import ImageTokens, prepared_size
from foretell.data.messages import template_for_parts
from foretell.data.tokenizer import CHAT_TEMPLATE, Tokenizer

TOKENIZER = Tokenizer.train([json.dumps(dir(str)) * 3 + open(json.__file__).read()], 512)  # noqa: SIM115, PTH123
TOKENS = ImageTokens(*map(TOKENIZER.special_token_id, (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)))
SMOLLM2 = (  # of HuggingFaceTB/SmolLM2-135M-Instruct: strings alone
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLVLM = (  # as HuggingFaceTB/SmolVLM-Instruct: lists alone
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<|image|>' }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
PIXTRAL = (  # as mistral-community/pixtral-12b: both
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST]' }}"
    "{% if message['content'] is not string %}{% for chunk in message['content'] %}"
    "{% if chunk['type'] == 'text' %}{{ chunk['text'] }}{% elif chunk['type'] == 'image' %}{{ '<|image|>' }}"
    "{% else %}{{ raise_exception('Unrecognized content type!') }}{% endif %}{% endfor %}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '[/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
READ_PARTS = {
    "own": CHAT_TEMPLATE, "smolvlm": SMOLVLM, "pixtral": PIXTRAL,
    "smollm2 made to": template_for_parts(SMOLLM2, IMAGE_TOKEN),
}  # fmt: skip
TEMPLATES = {**READ_PARTS, "smollm2": SMOLLM2}
IMAGE = {"type": "image"}


def said(*parts: str | dict) -> list[dict]:
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]


TALK = [
    {"role": "user", "content": said(IMAGE, "What is in ", IMAGE, " and this?")},
    {"role": "assistant", "content": said("A cat.")},
    {"role": "user", "content": said("And here?", IMAGE)},
]


def strings(messages: list[dict]) -> list[dict]:
    """The same with the image token spelt out, as templates for strings alone are given it."""
    return [{**m, "content": "".join(p.get("text", IMAGE_TOKEN) for p in m["content"])} for m in messages]


@pytest.mark.parametrize("name", READ_PARTS)
@pytest.mark.parametrize("prompt", [False, True])
def test_equals_transformers(tmp_path, name, prompt):
    transformers = pytest.importorskip("transformers")
    TOKENIZER.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = ChatTemplate(TEMPLATES[name], TOKENIZER, IMAGE_TOKEN)
    for messages in (TALK[:1], TALK):
        given = messages
        if name == "pixtral":  # whose assistant speaks in strings
            given = [m if m["role"] == "user" else {**m, "content": "A cat."} for m in messages]
        options = {"add_generation_prompt": prompt, "chat_template": TEMPLATES[name], "tokenize": False}
        expected = theirs.apply_chat_template(given, **options)
        assert ours.render(messages, add_generation_prompt=prompt) == expected
        assert (
            ours.encode(messages, add_generation_prompt=prompt)
            == theirs(expected, add_special_tokens=False)["input_ids"]
        )


def test_templates_for_strings_get_the_token_in_its_place(tmp_path):
    transformers = pytest.importorskip("transformers")
    TOKENIZER.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected = theirs.apply_chat_template(strings(TALK), chat_template=SMOLLM2, tokenize=False)
    for source in (SMOLLM2, READ_PARTS["smollm2 made to"]):
        ours = ChatTemplate(source, TOKENIZER, IMAGE_TOKEN)
        assert ours.render(TALK) == expected
        assert ours.encode(TALK) == theirs(expected, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_strings_are_written_as_lists_of_one_text_are(name):
    chat = ChatTemplate(TEMPLATES[name], TOKENIZER, IMAGE_TOKEN)
    plain = [{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "Ho"}]
    lists = [{**message, "content": said(message["content"])} for message in plain]
    assert chat.render(plain) == chat.render(lists)
    assert "Hi <b>" in chat.render(plain) and "Ho" in chat.render(plain)
    if name == "smollm2 made to":
        assert chat.render(plain) == ChatTemplate(SMOLLM2, TOKENIZER).render(plain)


@pytest.mark.parametrize("name", TEMPLATES)
@given(texts=st.lists(st.text(max_size=9) | st.sampled_from([IMAGE_TOKEN, "<|im_", "<", "age|>", "<|im_end|>", "|>"]),
                      max_size=5), images=st.lists(st.integers(0, 5), max_size=3))  # fmt: skip
def test_one_token_an_image_whatever_the_texts_hold(name, texts, images):
    chat = ChatTemplate(TEMPLATES[name], TOKENIZER, IMAGE_TOKEN)
    parts: list[str | dict] = [*texts]
    for place in images:
        parts.insert(place, {"type": "image_url", "image_url": {"url": f"data:,{IMAGE_TOKEN}"}})
    messages = [{"role": "user", "content": said("?", *parts)}]
    ids = chat.encode(messages)
    plain = [{"role": "user", "content": said(*["?" if isinstance(part, str) else part for part in ["?", *parts]])}]
    special = set(map(TOKENIZER.special_token_id, TOKENIZER.special_tokens))
    assert ids.count(TOKENS.image) == len(images)
    assert [number for number in ids if number in special] == [
        number for number in chat.encode(plain) if number in special
    ]


@pytest.mark.parametrize("name", ["own", "smolvlm", "smollm2", "smollm2 made to"])
def test_what_the_assistant_says_is_marked_after_runs_are_in(name):
    chat = ChatTemplate(TEMPLATES[name], TOKENIZER, IMAGE_TOKEN)
    talk = [*TALK, {"role": "assistant", "content": said("A dog ", IMAGE, ".")}]
    grids = [(1, 2), (2, 2), (3, 1), (1, 1)]
    whole = chat.encode_for_training(talk).expand(TOKENS, grids)
    learned = [number for number, mark in zip(whole.ids, whole.assistant, strict=True) if mark]
    assert TOKENIZER.decode(learned).replace(" ", "") == "Acat.Adog."
    assert not {TOKENS.image, TOKENS.line_break, TOKENS.end} & set(learned)
    assert whole.ids == TOKENS.expand(chat.encode(talk), grids) and len(whole.ids) == len(whole.assistant)
    assert sum(number == TOKENS.image for number in whole.ids) == sum(rows * columns for rows, columns in grids)
    with pytest.raises(UserError, match="4 image tokens, and there are 1 images"):
        chat.encode_for_training(talk).expand(TOKENS, grids[:1])


def test_models_that_read_no_images_say_so():
    with pytest.raises(
        UserError, match=r"messages\[0\].content has a part of type 'image'; this model reads 'text' parts"
    ):
        ChatTemplate(CHAT_TEMPLATE, TOKENIZER).encode(TALK)
    with pytest.raises(UserError, match="part of type 'video'; this model reads 'text', 'image' and 'image_url' parts"):
        ChatTemplate(CHAT_TEMPLATE, TOKENIZER, IMAGE_TOKEN).encode([{"role": "user", "content": [{"type": "video"}]}])
    with pytest.raises(UserError, match="no token '<img>'"):
        ChatTemplate(CHAT_TEMPLATE, TOKENIZER, "<img>")


def test_a_saved_template_reads_parts(tmp_path):
    TOKENIZER.with_chat_template(READ_PARTS["smollm2 made to"]).save(tmp_path)
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.chat_template == READ_PARTS["smollm2 made to"] and again.digest == TOKENIZER.digest
    assert again.start_ids == TOKENIZER.start_ids and again.named_tokens == TOKENIZER.named_tokens


def test_ids_are_those_of_pixtrals_processor(tmp_path, monkeypatch):
    """With the template, the tokenizer and the names of the tokens as a model directory has them."""
    transformers = pytest.importorskip("transformers")
    pil = pytest.importorskip("transformers.models.pixtral.image_processing_pil_pixtral")
    # The processor's module wants torchvision for a function that the other image processor has as well.
    monkeypatch.setitem(sys.modules, "transformers.models.pixtral.image_processing_pixtral", pil)
    from transformers.models.pixtral.processing_pixtral import PixtralProcessor

    monkeypatch.setattr(PixtralProcessor, "check_argument_for_proper_class", lambda self, *names: None)
    TOKENIZER.save(tmp_path)
    theirs = PixtralProcessor(
        image_processor=pil.PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8}),
        tokenizer=transformers.AutoTokenizer.from_pretrained(tmp_path), patch_size=8, chat_template=CHAT_TEMPLATE,
        image_token=IMAGE_TOKEN, image_break_token=IMAGE_BREAK, image_end_token=IMAGE_END,
    )  # fmt: skip
    images = [Image.new("RGB", size) for size in ((50, 20), (30, 100), (9, 9))]
    left = iter(images)
    talk = [{**m, "content": [p | {"image": next(left)} if p == IMAGE else p for p in m["content"]]} for m in TALK]
    found = theirs.apply_chat_template(
        talk, tokenize=True, return_dict=True, add_generation_prompt=True, return_tensors="np"
    )
    grids = [prepared_size(*image.size, 8, 64) for image in images]
    ids = ChatTemplate(CHAT_TEMPLATE, TOKENIZER, IMAGE_TOKEN).encode(talk, add_generation_prompt=True)
    assert found["input_ids"][0].tolist() == TOKENS.expand(ids, grids)
