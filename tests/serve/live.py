"""A small model behind a live server, asked through the official client."""

import contextlib
import dataclasses
import functools
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "infer"))
import seeing_model
import small_model

from foretell.data.chat import ChatTemplate
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.tokenizer import CHAT_TEMPLATE
from foretell.infer.engine import EngineOptions
from foretell.infer.loading import LoadedModel
from foretell.model.lora import Adapter, LoRAConfig
from foretell.serve.options import ServeOptions

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
from foretell.serve.app import build_app
from foretell.serve.server import Server, listening
from foretell.serve.service import Service
from foretell.serve.store import ConversationStore

TOOL_TEMPLATE = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools> use <tool_call>{% endif %}"
    + CHAT_TEMPLATE
)


@functools.cache
def small_chat(context: int = 400, template: str | None = CHAT_TEMPLATE) -> LoadedModel:
    tokenizer = small_model.tokenizer()
    chat = ChatTemplate(template, tokenizer) if template else None
    ends = tuple(sorted({tokenizer.end_of_text_id, tokenizer.special_token_id("<|im_end|>")}))
    return LoadedModel("small", small_model.decoder(), tokenizer, chat, ends, (), context)


def seeing_chat(context: int = 400) -> LoadedModel:
    """A small model that reads images, new each time, for an engine uses its decoder up."""
    tokenizer = small_model.tokenizer()
    names = (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)
    chat = ChatTemplate(CHAT_TEMPLATE, tokenizer, IMAGE_TOKEN)
    return LoadedModel(
        "seer", seeing_model.decoder(), tokenizer, chat, small_chat().end_of_turn_ids, (), context, names
    )


def poet() -> Adapter:
    """An adapter that changes what the small model says."""
    adapter = Adapter(small_model.config(), LoRAConfig(rank=2, targets=("q_proj", "up_proj")))
    with torch.no_grad():
        for update in adapter.updates.values():
            for b in update.b.values():
                b.fill_(0.3)
    return adapter


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


@dataclasses.dataclass
class Live:
    """A running server."""

    server: Server
    service: Service
    log: list[str]
    thread: threading.Thread

    @property
    def url(self) -> str:
        return self.server.address

    def client(self, **options):
        openai = pytest.importorskip("openai", reason="the official client is not installed")
        return openai.OpenAI(base_url=f"{self.url}/v1", **{"api_key": "none", "max_retries": 0, **options})

    def ask(self, path: str, body=None, method: str | None = None, **headers: str):
        """Status, JSON or text, and headers, without the client's own checks."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
            kind = answer.headers.get("content-type", "")
            return answer.status, json.loads(text) if kind == "application/json" else text, answer.headers

    def wait_until_idle(self, seconds: float = 10.0) -> None:
        until(lambda: self.service.worker.running + self.service.worker.waiting == 0, seconds)


@contextlib.contextmanager
def serving(
    model: LoadedModel | None = None, engine: EngineOptions | None = None, adapters=None, **options
) -> Iterator[Live]:
    """A server in a thread for the length of a ``with`` block."""
    model = model or small_chat()
    model = dataclasses.replace(model, decoder=small_model.decoder() if model.name == "small" else model.decoder)
    service = Service(model, engine or EngineOptions(memory=2**24), ServeOptions(port=0, **options), adapters)
    log: list[str] = []
    store = ConversationStore(Path(":memory:"))
    server = Server(build_app(service, store, log.append), service, listening(service.options))
    thread = threading.Thread(target=server.serve_until_stopped, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield Live(server, service, log, thread)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()
