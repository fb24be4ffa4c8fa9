import json

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as some
from live import small_model

from foretell.infer.grammar import GrammarFactory
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


class Leaf(pydantic.BaseModel):
    size: int


class Tree(pydantic.BaseModel):
    leaf: Leaf
    left: "Tree | None"


class Other:
    class Leaf(pydantic.BaseModel):
        size: bool

    class Tree(pydantic.BaseModel):
        leaf: "Other.Leaf"


def test_nested_and_recursive_parameters_keep_their_own_definitions() -> None:
    """Two tools whose definitions have one name, as the official client makes them of pydantic models."""
    openai = pytest.importorskip("openai", reason="the official client is not installed")
    pytest.importorskip("llguidance", reason="llguidance is not installed")
    Other.Tree.model_rebuild()
    tools = [openai.pydantic_function_tool(model, name=name) for model, name in ((Tree, "grow"), (Other.Tree, "cut"))]
    assert "$defs" in tools[0]["function"]["parameters"] and "$defs" in tools[1]["function"]["parameters"]
    tokenizer = small_model.tokenizer()
    factory = GrammarFactory(tokenizer, small_model.VOCABULARY, (0,))

    def accepts(name: str, arguments: str, tags: bool) -> bool:
        grammar = factory.of_lark(call_grammar(tools, tags, False))
        key = "arguments" if tags else "parameters"
        text = f'{{"name": "{name}", "{key}": {arguments}}}'
        for token in tokenizer.encode(f"<tool_call>\n{text}\n</tool_call>" if tags else text):
            if not grammar.allowed()[token]:
                return False
            grammar.accept(token)
        return bool(grammar.allowed()[0])

    small, deep = '{"leaf": {"size": 3}, "left": null}', '{"leaf": {"size": 1}, "left": '
    for tags in (True, False):
        assert accepts("grow", small, tags) and accepts("grow", deep + deep + small + "}}", tags)
        assert accepts("cut", '{"leaf": {"size": true}}', tags)
        for name, wrong in (("grow", '{"leaf": {"size": true}, "left": null}'), ("cut", '{"leaf": {"size": 3}}'),
                            ("grow", deep + '{"leaf": 3}}'), ("cut", small)):  # fmt: skip
            assert not accepts(name, wrong, tags)
