"""A real small model behind the server: SmolLM2-135M-Instruct from its package."""

import importlib.util
import json
import threading
from collections.abc import Iterator

import pytest
from live import Live, serving

from foretell.core.errors import UserError
from foretell.infer.engine import EngineOptions
from foretell.infer.loading import embedded_file, load_model

if importlib.util.find_spec("gguf") is None:
    pytest.skip("gguf is not installed", allow_module_level=True)
try:
    embedded_file()
except UserError as reason:
    pytest.skip(str(reason), allow_module_level=True)

PARIS = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


@pytest.fixture(scope="module")
def smol() -> Iterator[Live]:
    with serving(load_model("smollm2", context=1024), EngineOptions(memory=2**27)) as live:
        yield live


def ask(smol: Live, messages=PARIS, **options):
    given = {"max_tokens": 24, "temperature": 0, **options}
    return smol.client().chat.completions.create(model="smollm2", messages=messages, **given)


def test_it_knows_paris_streams_it_and_stops_by_itself(smol: Live) -> None:
    answer = ask(smol)
    assert "Paris" in answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(smol, stream=True))
    assert text == answer.choices[0].message.content


def test_an_answer_of_a_schema_parses_and_says_something(smol: Live) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "country": {"type": "string"},
              "inhabitants": {"type": "integer"}}, "required": ["city", "country", "inhabitants"],
              "additionalProperties": False}  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    question = [{"role": "user", "content": "Describe Paris as JSON with city, country and inhabitants."}]
    choice = ask(smol, question, response_format=form, max_tokens=120).choices[0]
    found = json.loads(choice.message.content)
    assert choice.finish_reason == "stop" and "Paris" in found["city"] and isinstance(found["inhabitants"], int)
    some = ask(smol, question, response_format={"type": "json_object"}, max_tokens=120).choices[0]
    assert some.message.content.startswith("{")
    if some.finish_reason == "stop":
        json.loads(some.message.content)


def test_its_template_knows_no_tools(smol: Live) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    status, body, _ = smol.ask("/v1/chat/completions", {"messages": PARIS, "tools": tools})
    assert status == 400 and body["error"]["param"] == "tools"


def test_a_likely_text_scores_better_than_an_unlikely_one(smol: Live) -> None:
    texts = ["The capital of France is Paris.", "The capital of France is purple."]
    answer = smol.client().completions.create(model="smollm2", prompt=texts, echo=True, logprobs=1, max_tokens=0)
    sums = [sum(choice.logprobs.token_logprobs[1:]) for choice in answer.choices]
    assert sums[0] > sums[1] + 2 and [choice.text for choice in answer.choices] == texts
    assert "".join(answer.choices[0].logprobs.tokens) == texts[0]


def test_answers_at_once_are_those_alone(smol: Live) -> None:
    if not smol.service.worker.engine.batch_invariant:
        pytest.skip("no compiled kernels here")
    questions = [[{"role": "user", "content": f"Name {number} fruits."}] for number in range(2, 8)]
    alone = [ask(smol, one, max_tokens=10).choices[0].message.content for one in questions]
    together = [""] * len(questions)

    def work(index: int) -> None:
        together[index] = ask(smol, questions[index], max_tokens=10).choices[0].message.content

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_tokens_of_a_message_as_the_template_writes_it(smol: Live) -> None:
    _, body, _ = smol.ask("/tokenize", {"messages": PARIS, "return_token_strs": True})
    assert body["token_strs"][0] == "<|im_start|>" and "".join(body["token_strs"]).endswith("assistant\n")
    assert "capital of France" in smol.ask("/detokenize", {"tokens": body["tokens"]})[1]["prompt"]
