import json

import pytest
from small_model import VOCABULARY, decoder, tokenizer

from foretell.core.errors import UserError
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling

pytest.importorskip("llguidance", reason="llguidance is not installed")
from foretell.infer.grammar import GrammarFactory

ENDS = (0, 2)
SCHEMA = {
    "type": "object",
    "properties": {"who": {"type": "string", "maxLength": 6}, "many": {"type": "integer"}},
    "required": ["who", "many"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def factory() -> GrammarFactory:
    return GrammarFactory(tokenizer(), VOCABULARY, ENDS)


def answers(grammar, count: int, tokens: int = 150):
    engine = Engine(decoder(), tokenizer(), EngineOptions(memory=2**24))
    return engine.complete(
        Request((20, 21), tokens, Sampling(seed=seed), stop_ids=frozenset(ENDS), grammar=grammar.copy())
        for seed in range(count)
    )


def test_random_weights_write_what_the_schema_says(factory: GrammarFactory) -> None:
    for answer in answers(factory.of_schema(SCHEMA), 8):
        assert answer.finish == "stop"
        found = json.loads(answer.text)
        assert list(found) == ["who", "many"] and len(found["who"]) <= 6 and isinstance(found["many"], int)


def test_a_lark_grammar_with_a_schema_in_it(factory: GrammarFactory) -> None:
    grammar = factory.of_lark('start: "<" part ">"\npart: %json {"enum": ["a", "b"]}\n')
    assert {answer.text for answer in answers(grammar, 8)} <= {'<"a">', '<"b">'}


def test_masks_follow_the_tokens_and_copies_their_own(factory: GrammarFactory) -> None:
    grammar = factory.of_schema({"enum": ["ab", "ac"]})
    for letter in '"a':
        mask = grammar.allowed()
        token = tokenizer().encode(letter)[0]
        assert mask.shape == (VOCABULARY,) and mask[token]
        grammar.accept(token)
    other = grammar.copy()
    for letter in 'b"':
        grammar.accept(tokenizer().encode(letter)[0])
    assert grammar.allowed().nonzero().flatten().tolist() == list(ENDS)
    assert not other.allowed()[0] and other.allowed()[tokenizer().encode("c")[0]]


def test_after_an_impossible_token_only_the_end_is_left(factory: GrammarFactory) -> None:
    grammar = factory.of_schema({"enum": ["ab"]})
    grammar.accept(tokenizer().encode("z")[0])
    assert grammar.allowed().nonzero().flatten().tolist() == list(ENDS)
    assert grammar.failed
    assert answers(grammar, 1)[0].finish == "error"


@pytest.mark.parametrize(
    "schema",
    [{"type": "foo"}, 3, True, {"$ref": "http://a.example/b"}, {"type": "object", "properties": 5}, {"pattern": "("},
     {"allOf": [{"type": "string"}, {"type": "integer"}]}],
)  # fmt: skip
def test_schemas_that_cannot_be(factory: GrammarFactory, schema: object) -> None:
    with pytest.raises(UserError, match=r"^The JSON schema cannot be used: .+\.$") as caught:
        factory.of_schema(schema)
    assert "\n" not in str(caught.value)


def test_a_grammar_that_is_none(factory: GrammarFactory) -> None:
    with pytest.raises(UserError, match="The grammar cannot be used"):
        factory.of_lark("start: missing")
