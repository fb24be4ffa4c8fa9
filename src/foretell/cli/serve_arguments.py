"""Options of ``foretell serve`` and ``foretell chat``."""

from __future__ import annotations

import argparse
from typing import Any

SERVE_EPILOG = """\
  foretell serve                                the embedded SmolLM2-135M-Instruct at http://127.0.0.1:8000
  foretell serve --model runs/laptop/model      a trained model; a .gguf file or a Hugging Face directory too
  foretell serve --host 0.0.0.0 --api-key KEY   for other machines
The chat page is at /, the OpenAI API at /v1, metrics at /metrics. Ctrl-C lets running requests finish.
"""
CHAT_EPILOG = """\
  foretell chat                                 talk to the embedded SmolLM2-135M-Instruct
  foretell chat model.gguf -m "Why is the sky blue?"
  foretell chat -m "Summarise this:" < notes.txt
  foretell chat runs/seeing/model --image photo.jpg -m "What is this?"
  /system, /image FILE, /regenerate, /reset, /save FILE and /quit while talking; Ctrl-C stops an answer.
"""


def add_serve(verbs: Any, model_help: str) -> None:
    """The verb ``serve``."""
    raw = argparse.RawDescriptionHelpFormatter
    serve = verbs.add_parser("serve", help="an OpenAI-compatible API and a chat page over a model",
                             epilog=SERVE_EPILOG, formatter_class=raw)  # fmt: skip
    serve.add_argument("--model", default="smollm2", help=f"{model_help} (default smollm2)")
    serve.add_argument("--adapter", action="append", default=[], metavar="NAME=DIRECTORY",
                       help="a LoRA adapter, served as a model of this name; repeatable")  # fmt: skip
    serve.add_argument("--host", default="127.0.0.1", help="to listen at (default 127.0.0.1: this machine alone)")
    serve.add_argument("--port", type=int, default=8000, help="0 for any that is free (default 8000)")
    serve.add_argument("--api-key", action="append", default=[], metavar="KEY",
                       help="to be sent with requests; repeatable (or FORETELL_API_KEYS, with commas)")  # fmt: skip
    serve.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                       help="a name by which a server without keys may be asked, beside localhost, addresses and this "
                       "machine's own; repeatable")  # fmt: skip
    serve.add_argument("--max-context", type=int, metavar="TOKENS", help="of prompt and answer (default: the model's)")
    serve.add_argument("--cache-memory", default="1GiB", metavar="SIZE", help="for keys and values (default 1GiB)")
    serve.add_argument("--max-batch", type=int, default=32, metavar="N", help="answers at once (default 32)")
    serve.add_argument("--max-queue", type=int, default=256, metavar="N",
                       help="answers that may wait; more are told to come again (default 256)")  # fmt: skip
    serve.add_argument("--max-body", metavar="SIZE",
                       help="of a request (default 2MiB, and 32MiB for a model that reads images)")  # fmt: skip
    serve.add_argument("--max-images", type=int, default=16, metavar="N", help="of a request (default 16)")
    serve.add_argument("--max-image", default="10MiB", metavar="SIZE", help="of an image's file (default 10MiB)")
    serve.add_argument("--image-urls", action="store_true",
                       help="fetch images that requests give by address, from public hosts alone")  # fmt: skip
    serve.add_argument("--request-timeout", type=float, default=600.0, metavar="SECONDS",
                       help="after which an answer ends as it is (default 600)")  # fmt: skip
    serve.add_argument("--grace", type=float, default=30.0, metavar="SECONDS",
                       help="for running requests when stopped (default 30)")  # fmt: skip
    serve.add_argument("--bits", type=int, choices=[4, 8], help="round float weights to so many bits")
    serve.add_argument("--database", metavar="FILE", help="of the page's conversations (default: in the user's data "
                       "folder)")  # fmt: skip
    serve.add_argument("--log-prompts", action="store_true", help="put prompts and answers into the request log")


def add_chat(verbs: Any, model_help: str) -> None:
    """The verb ``chat``."""
    raw = argparse.RawDescriptionHelpFormatter
    chat = verbs.add_parser("chat", help="talk to a model in the terminal", epilog=CHAT_EPILOG, formatter_class=raw)
    chat.add_argument("model", nargs="?", default="smollm2", help=f"{model_help} (default smollm2)")
    chat.add_argument("-m", "--message", help="one question; the answer is printed, and that is all")
    chat.add_argument("--image", nargs="+", action="extend", default=[], metavar="FILE",
                      help="images for the first message, of a model that reads them")  # fmt: skip
    chat.add_argument("--system", default="", help="the system message")
    chat.add_argument("--max-tokens", type=int, help="of an answer (default: what the context has left)")
    chat.add_argument("--temperature", type=float, default=0.7, help="0 is greedy (default 0.7)")
    chat.add_argument("--top-p", type=float, default=0.95, help="nucleus (default 0.95)")
    chat.add_argument("--seed", type=int, help="equal seeds give equal answers")
    chat.add_argument("--max-context", type=int, metavar="TOKENS", help="of conversation and answer")
    chat.add_argument("--bits", type=int, choices=[4, 8], help="round float weights to so many bits")
