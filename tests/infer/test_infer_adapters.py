import dataclasses

import pytest
import small_model
import torch
from test_infer_engine import GREEDY, engine, mixed_requests, random_ids

from foretell.core.errors import UserError
from foretell.infer.requests import Request
from foretell.model.lora import Adapter, LoRAConfig

TARGETS: dict[str, tuple[str, ...] | str] = {"attention": ("q_proj", "v_proj"), "all": "all-linear", "up": ("up_proj",)}


def adapter(name: str) -> Adapter:
    made = Adapter(small_model.config(), LoRAConfig(rank=4, alpha=8, targets=TARGETS[name]), seed=len(name))
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for update in made.updates.values():
            for b in update.b.values():
                b.copy_(torch.randn(b.shape, generator=generator) * 0.2)
    return made


def engine_with_adapters(native: bool = True, **options):
    made = engine(native, **options)
    for name in TARGETS:
        made.adapters.add(name, adapter(name))
    return made


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", TARGETS)
def test_an_adapter_changes_what_it_changes_in_the_model_itself(native: bool, name: str) -> None:
    prompt = random_ids(50)
    model = small_model.decoder()
    plain = torch.log_softmax(model(torch.tensor([prompt]))[0].detach(), -1)
    adapter(name).attach(model)
    shares = torch.log_softmax(model(torch.tensor([prompt]))[0].detach(), -1)
    (answer,) = engine_with_adapters(native).complete([Request(prompt, 0, prompt_logprobs=0, adapter=name)])
    found = torch.tensor([one.logprob for one in answer.prompt_logprobs])
    expected, without = (rows[torch.arange(49), torch.tensor(prompt[1:])] for rows in (shares, plain))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (expected - without).abs().max() > 0.1


def test_each_request_has_its_own_adapter_and_the_bits_it_has_alone() -> None:
    names = [None, "attention", "all", "up", "attention", None]
    requests = [dataclasses.replace(request, adapter=name)
                for request, name in zip(mixed_requests(), names, strict=True)]  # fmt: skip
    together = engine_with_adapters(most=6)
    for _ in range(2):
        for request, answer in zip(requests, together.complete(requests), strict=True):
            (alone,) = engine_with_adapters().complete([request])
            assert (answer.tokens, answer.logprobs) == (alone.tokens, alone.logprobs)


def test_prefixes_are_shared_within_an_adapter_only() -> None:
    tried, prompt = engine_with_adapters(), random_ids(60)
    cached = [tried.complete([Request(prompt, 1, GREEDY, adapter=name)])[0].cached
              for name in (None, "all", "up", "all", None)]  # fmt: skip
    assert cached == [0, 0, 0, 48, 48]


def test_an_adapter_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no adapter 'french'; there are: attention, all, up"):
        engine_with_adapters().complete([Request(random_ids(5), 1, adapter="french")])
    with pytest.raises(UserError, match="none is loaded"):
        engine().complete([Request(random_ids(5), 1, adapter="french")])
