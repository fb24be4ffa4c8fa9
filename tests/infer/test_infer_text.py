from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import tokenizer

from foretell.infer.text import TextStream


def streamed(text: str, stops: tuple[str, ...], sizes: list[int]) -> tuple[list[str], TextStream]:
    ids = tokenizer().encode(text)
    stream, parts = TextStream(tokenizer(), stops), []
    while ids:
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.feed(ids[:size]))
        ids = ids[size:]
    parts.append(stream.finish())
    return parts, stream


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=4), max_size=3),
       st.lists(st.integers(1, 5), min_size=1, max_size=4))  # fmt: skip
def test_pieces_never_change_the_text(text: str, stops: list[str], sizes: list[int]) -> None:
    parts, stream = streamed(text, tuple(stops), sizes)
    first = min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)
    assert "".join(parts) == (text if first is None else text[:first])
    assert stream.stopped == (first is not None)


def test_text_is_given_as_soon_as_it_is_certain() -> None:
    parts, _ = streamed("hello wor", ("world",), [1])
    assert "".join(parts[:-1]) == "hello " and parts[-1] == "wor"
    parts, _ = streamed("é", (), [1])
    assert parts == ["", "é", ""]


def test_bytes_that_are_no_text() -> None:
    stream = TextStream(tokenizer())
    assert stream.feed(tokenizer().encode_bytes(b"\xe2\x82")) == ""
    assert stream.finish() == "�"
