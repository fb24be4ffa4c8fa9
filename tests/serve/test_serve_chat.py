import json
import threading

import pytest
from live import TOOL_TEMPLATE, Live, serving, small_chat

HELLO = [{"role": "user", "content": "hello world"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"},
                   "kind": {"enum": ["a", "b"]}},
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}  # fmt: skip


def ask(client, messages=HELLO, **options):
    return client.chat.completions.create(model="small", messages=messages, **{"max_tokens": 12, "seed": 1, **options})


def streamed(client, **options):
    chunks = list(ask(client, stream=True, **options))
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return chunks, texts


def test_an_answer_has_every_field_and_equal_seeds_give_equal_answers(client) -> None:
    first, second = ask(client), ask(client)
    assert first.object == "chat.completion" and first.id.startswith("chatcmpl-") and first.model == "small"
    assert first.choices[0].message.role == "assistant" and first.choices[0].finish_reason in ("stop", "length")
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.system_fingerprint == second.system_fingerprint
    assert first.id != second.id
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.prompt_tokens_details.cached_tokens == 16
    assert ask(client, seed=2).choices[0].message.content != first.choices[0].message.content


def test_a_stream_says_what_the_whole_answer_says(client) -> None:
    whole = ask(client, n=2, max_tokens=40)
    chunks, texts = streamed(client, n=2, max_tokens=40, stream_options={"include_usage": True})
    assert [texts[choice.index] for choice in whole.choices] == [choice.message.content for choice in whole.choices]
    assert len({chunk.id for chunk in chunks}) == 1 and {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    finishes = {c.index: c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason}
    assert finishes == {choice.index: choice.finish_reason for choice in whole.choices}


def test_choices_differ_and_the_first_is_that_of_one_alone(client) -> None:
    several = ask(client, n=3)
    texts = [choice.message.content for choice in several.choices]
    assert len(set(texts)) == 3 and texts[0] == ask(client).choices[0].message.content
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage.prompt_tokens == ask(client).usage.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_stops_end_the_answer_before_them(client, stream: bool) -> None:
    text = ask(client, max_tokens=30).choices[0].message.content
    stop = text[10:12]
    if stream:
        chunks, texts = streamed(client, max_tokens=30, stop=[stop, "never so"])
        found, finish = texts[0], chunks[-1].choices[0].finish_reason
    else:
        choice = ask(client, max_tokens=30, stop=stop).choices[0]
        found, finish = choice.message.content, choice.finish_reason
    assert found == text[: text.index(stop)] and finish == "stop"


def test_logprobs_are_those_of_the_tokens_and_the_greedy_one_is_likeliest(client) -> None:
    choice = ask(client, temperature=0, logprobs=True, top_logprobs=3).choices[0]
    for entry in choice.logprobs.content:
        assert entry.logprob == entry.top_logprobs[0].logprob <= 0 and len(entry.top_logprobs) == 3
        assert entry.bytes is None or bytes(entry.bytes).decode(errors="replace") == entry.token
    chunks, _ = streamed(client, temperature=0, logprobs=True, top_logprobs=3)
    found = [entry for chunk in chunks for c in chunk.choices if c.logprobs for entry in c.logprobs.content]
    assert [entry.logprob for entry in found] == [entry.logprob for entry in choice.logprobs.content]
    assert ask(client).choices[0].logprobs is None


def test_logprobs_stop_where_the_text_stops(client) -> None:
    whole = ask(client, max_tokens=30, logprobs=True).choices[0]
    stop = whole.message.content[10:12]
    cut = ask(client, max_tokens=30, logprobs=True, stop=stop).choices[0]
    assert len(cut.logprobs.content) < len(whole.logprobs.content)
    data = b"".join(bytes(entry.bytes or []) for entry in cut.logprobs.content)
    assert data.decode(errors="replace").startswith(cut.message.content)


def test_sampling_parameters_reach_the_sampler(client) -> None:
    greedy = ask(client, temperature=0).choices[0].message.content
    assert ask(client, extra_body={"top_k": 1}).choices[0].message.content == greedy
    assert ask(client, top_p=1e-6).choices[0].message.content == greedy
    assert ask(client, extra_body={"min_p": 1.0}).choices[0].message.content == greedy
    biased = ask(client, temperature=0, logit_bias={"80": 100}).choices[0].message.content
    assert len(set(biased)) == 1 and len(biased) == 12
    punished = ask(client, temperature=0, logit_bias={"80": 30}, frequency_penalty=2, max_tokens=60)
    assert len(set(punished.choices[0].message.content)) > 1


def test_a_json_schema_is_kept_by_every_answer(client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    answer = ask(client, response_format=form, max_tokens=300, n=4)
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        person = json.loads(choice.message.content)
        assert set(person) == {"name", "age", "kind"} and isinstance(person["age"], int) and len(person["name"]) <= 8
    _, texts = streamed(client, response_format=form, max_tokens=300)
    assert texts[0] == answer.choices[0].message.content
    some = ask(client, response_format={"type": "json_object"}, max_tokens=300, logit_bias={"108": 5}, temperature=0.5)
    assert some.choices[0].message.content.startswith("{")
    free = ask(client, response_format={"type": "text"}).choices[0].message.content
    assert free == ask(client).choices[0].message.content


def test_roles_and_parts_of_content(client) -> None:
    parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "world"}]
    plain = ask(client).choices[0].message.content
    assert ask(client, [{"role": "user", "content": parts}]).choices[0].message.content == plain
    system = ask(client, [{"role": "system", "content": "be brief"}, *HELLO]).choices[0].message.content
    assert ask(client, [{"role": "developer", "content": "be brief"}, *HELLO]).choices[0].message.content == system


def test_what_changes_nothing_is_ignored(client) -> None:
    plain = ask(client).choices[0].message.content
    extra = {"top_k": None, "service_tier": "auto", "some_new_thing": 3}
    more = ask(client, user="me", metadata={"a": "b"}, store=True, modalities=["text"], extra_body=extra)
    assert more.choices[0].message.content == plain
    assert ask(client, max_tokens=None, max_completion_tokens=12).choices[0].message.content == plain


def test_many_at_once_get_the_answers_they_get_alone(client, live: Live) -> None:
    if not live.service.worker.engine.batch_invariant:
        pytest.skip("no compiled kernels here; float32 layers of PyTorch depend on the batch")
    questions = [[{"role": "user", "content": f"question {number} " * (1 + number % 5)}] for number in range(32)]
    alone = [ask(client, one, seed=number).choices[0].message.content for number, one in enumerate(questions)]
    together: dict[int, str] = {}

    def work(number: int) -> None:
        if number % 2:
            chunks = ask(client, questions[number], seed=number, stream=True)
            together[number] = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        else:
            together[number] = ask(client, questions[number], seed=number).choices[0].message.content

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(32)] == alone


TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"enum": ["Rome", "Bonn"]}}, "required": ["city"],
        "additionalProperties": False}}},
    {"type": "function", "function": {"name": "clock"}},
]  # fmt: skip


def test_tools_are_called_where_the_template_knows_them() -> None:
    with serving(small_chat(template=TOOL_TEMPLATE)) as live:
        client = live.client()
        named = {"type": "function", "function": {"name": "weather"}}
        choice = ask(client, tools=TOOLS, tool_choice=named, parallel_tool_calls=False, max_tokens=80).choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        call = choice.message.tool_calls[0]
        assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Rome", "Bonn")
        chunks = list(
            ask(client, tools=TOOLS, tool_choice=named, parallel_tool_calls=False, max_tokens=80, stream=True)
        )
        deltas = [d for chunk in chunks for c in chunk.choices for d in c.delta.tool_calls or []]
        assert [(d.index, d.function.arguments) for d in deltas] == [(0, call.function.arguments)]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        answered = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
                    {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]  # fmt: skip
        assert ask(client, answered, tools=TOOLS).usage.prompt_tokens > 23
        nested = {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}, "required": ["city"],
                  "additionalProperties": False, "$defs": {"City": {"enum": [1]}}}  # fmt: skip
        defined = [{"type": "function", "function": {"name": "weather", "parameters": nested}}]
        calls = ask(client, tools=defined, tool_choice="required", max_tokens=80, parallel_tool_calls=False)
        assert calls.choices[0].message.tool_calls[0].function.arguments == '{"city": 1}'
        free = ask(client, tools=TOOLS, tool_choice="none")
        assert free.choices[0].message.content == ask(client).choices[0].message.content
        required = ask(client, tools=TOOLS[1:], tool_choice="required", parallel_tool_calls=False, max_tokens=120,
                       logit_bias={"108": 8})  # fmt: skip
        assert required.choices[0].message.tool_calls or required.choices[0].finish_reason == "length"
