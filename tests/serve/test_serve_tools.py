import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from foretell.serve.tools import CallReader, call_grammar, knows_tools

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": "</b>"}}\n</tool_call>'


def read(text: str, tags: bool, size: int = 1) -> tuple[str, list[tuple[str, object]]]:
    reader = CallReader(tags)
    words = "".join(reader.feed(text[at : at + size])[0] for at in range(0, len(text), size))
    words += reader.feed("", last=True)[0]
    return words, [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in reader.calls]


@pytest.mark.parametrize(
    ("text", "tags", "words", "calls"),
    [
        ("just words < and <tool", True, "just words < and <tool", []),
        (f"I look. {CALL}", True, "I look. ", [("f", {"x": "</b>"})]),
        (f"{CALL}\n{CALL}", True, "", [("f", {"x": "</b>"})] * 2),
        ("<tool_call>{broken}</tool_call>", True, "<tool_call>{broken}</tool_call>", []),
        ('<tool_call>{"name": "f", "arguments": {}}', True, "", [("f", {})]),
        ("<tool_call>not yet", True, "<tool_call>not yet", []),
        ('{"name": "f", "parameters": {"a": 1}}', False, "", [("f", {"a": 1})]),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]', False, "", [("f", {}), ("g", {})]),
        ('{"some": "object"}', False, '{"some": "object"}', []),
        ("words {", False, "words {", []),
        ("[1, 2]", False, "[1, 2]", []),
        ("", False, "", []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_calls_are_read_however_the_text_comes(text, tags, words, calls, size) -> None:
    assert read(text, tags, size) == (words, calls)


@given(some.lists(some.sampled_from(["<tool_call>", "</tool_call>", "{", "}", '"name": "f"', "a", " ", "<", "[", "]"])))
def test_what_is_no_call_loses_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    for tags in (True, False):
        words, calls = read(text, tags)
        assert calls or words == text


def test_templates_that_know_tools() -> None:
    assert knows_tools("{% if tools %}{{ tools | tojson }}{% endif %}")
    assert knows_tools("{% generation %}{{ tools }}{% endgeneration %}")
    assert not knows_tools("{% for message in messages %}{{ message.content }}{% endfor %}")


def test_a_grammar_names_the_functions_and_their_arguments() -> None:
    tools = [{"function": {"name": "f", "parameters": {"type": "object"}}}]
    assert '"const": "f"' in call_grammar(tools, True, True) and ")*" in call_grammar(tools, True, True)
    assert ")*" not in call_grammar(tools, True, False) and '"parameters"' in call_grammar(tools, False, True)
