import pytest
from live import Live, poet, serving, small_chat


def ask(client, prompt="hello world", **options):
    return client.completions.create(prompt=prompt, **{"model": "small", "max_tokens": 8, "seed": 1, **options})


def test_a_text_its_ids_and_their_lists_mean_the_same(client, live: Live) -> None:
    ids = live.service.tokenizer.encode("hello world")
    text = ask(client).choices[0].text
    assert ask(client, ids).choices[0].text == text
    both = ask(client, ["hello world", "this is"])
    assert [choice.text for choice in both.choices] == [text, ask(client, "this is").choices[0].text]
    assert ask(client, [ids, ids], n=2).choices[2].text == text
    assert both.object == "text_completion" and both.usage.prompt_tokens == len(ids) + len(
        live.service.tokenizer.encode("this is")
    )
    assert len(ask(client, max_tokens=None).choices[0].text) <= 16 * 4


def test_echo_and_logprobs_score_a_prompt(client, live: Live) -> None:
    ids = live.service.tokenizer.encode("hello world")
    choice = ask(client, ids, echo=True, logprobs=2, max_tokens=0, temperature=0).choices[0]
    assert choice.text == "hello world" and choice.finish_reason == "length"
    found = choice.logprobs
    assert "".join(found.tokens) == "hello world" and found.token_logprobs[0] is None and found.top_logprobs[0] is None
    assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset) == len(ids)
    assert found.text_offset == [sum(map(len, found.tokens[:n])) for n in range(len(ids))]
    assert all(2 <= len(top) <= 3 for top in found.top_logprobs[1:])
    assert all(value == top[token] for value, top, token in
               zip(found.token_logprobs[1:], found.top_logprobs[1:], found.tokens[1:], strict=True))  # fmt: skip
    longer = ask(client, ids, echo=True, logprobs=2, max_tokens=1, temperature=0).choices[0].logprobs
    assert longer.token_logprobs[: len(ids)] == found.token_logprobs and len(longer.tokens) == len(ids) + 1


def test_a_stream_says_the_same(client) -> None:
    for options in ({}, {"echo": True, "logprobs": 1}, {"n": 2}, {"logprobs": 0}):
        whole = ask(client, ["hello", "world"], **options)
        texts, logprobs = {}, {}
        for chunk in ask(client, ["hello", "world"], stream=True, **options):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
                found = choice.logprobs.token_logprobs if choice.logprobs else []
                logprobs[choice.index] = logprobs.get(choice.index, []) + found
        assert [texts[choice.index] for choice in whole.choices] == [choice.text for choice in whole.choices]
        for choice in whole.choices:
            assert logprobs[choice.index] == (choice.logprobs.token_logprobs if choice.logprobs else [])


def test_best_of_gives_the_likeliest(client) -> None:
    every = ask(client, n=4, logprobs=0)
    means = [sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs) for c in every.choices]
    best = ask(client, best_of=4)
    assert best.choices[0].text == every.choices[means.index(max(means))].text and len(best.choices) == 1
    assert best.usage.completion_tokens == every.usage.completion_tokens


def test_an_end_of_text_is_scored_but_not_part_of_the_text(client) -> None:
    choice = ask(client, logit_bias={"0": 100}, logprobs=1).choices[0]
    assert choice.text == "" and choice.finish_reason == "stop" and choice.logprobs.tokens == ["<|endoftext|>"]


def test_a_model_without_a_template_continues_texts_only() -> None:
    with serving(small_chat(template=None)) as live:
        assert ask(live.client()).choices[0].text
        status, body, _ = live.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]})
        assert status == 400 and "no chat template" in body["error"]["message"]


def test_too_many_answers_are_refused_before_they_are_built(live: Live) -> None:
    status, body, _ = live.ask("/v1/completions", {"prompt": ["a"] * 200_000, "n": 128})
    assert status == 400 and "25600000 answers are asked for at once" in body["error"]["message"]


def test_tokens_there_and_back(live: Live) -> None:
    status, body, _ = live.ask("/tokenize", {"prompt": "hello world", "return_token_strs": True})
    assert status == 200 and body["count"] == len(body["tokens"]) and "".join(body["token_strs"]) == "hello world"
    assert live.ask("/detokenize", {"tokens": body["tokens"]})[1] == {"prompt": "hello world"}
    status, body, _ = live.ask("/tokenize", {"messages": [{"role": "user", "content": "<|im_end|>"}]})
    assert body["token_strs"] is None and body["tokens"].count(2) == 1


def test_adapters_are_models_of_their_own() -> None:
    with serving(adapters={"poet": poet()}) as live:
        client = live.client()
        assert [model.id for model in client.models.list()] == ["small", "poet"]
        assert client.models.retrieve("poet").parent == "small"
        assert live.ask("/v1/models/other")[0] == 404
        said = {name: ask(client, model=name, temperature=0, max_tokens=12).choices[0].text
                for name in ("small", "poet", "small")}  # fmt: skip
    assert said["small"] != said["poet"]
    with serving() as live:
        assert ask(live.client(), model="small", temperature=0, max_tokens=12).choices[0].text == said["small"]


@pytest.mark.parametrize("prompt", ["", "ü€😀", "<|endoftext|>", "\x00\x07"])
def test_odd_texts(client, prompt: str) -> None:
    choice = ask(client, prompt, echo=True, max_tokens=1, logprobs=1).choices[0]
    assert choice.text.startswith(prompt)
