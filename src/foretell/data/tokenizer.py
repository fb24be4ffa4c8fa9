"""Text to ids through ``tokenizers``, and byte-level BPE trained: digits apart and ByteLevel as SmolLM does it, so that
GGUF tools know it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from foretell.core.errors import UserError
from foretell.core.files import read_json, sha256_bytes, storage_errors, write_atomic, write_json
from foretell.core.progress import meter
from foretell.data.config import SPECIAL_TOKENS, TokenizerConfig
from foretell.data.records import read_documents

TRAINING_BYTES = 10_000_000
END_OF_TEXT_NAMES = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is iterable and message['content'] is not string %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% else %}{{ message['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


SPACE = "\u2581"  # by which sentencepiece writes a space
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")


def _content(token: Any) -> str | None:
    """The text of a token in ``tokenizer_config.json``, which is a string or an object."""
    return token.get("content") if isinstance(token, dict) else token


def byte_characters() -> list[str]:
    """The character by which ByteLevel stands for each byte 0 to 255 (GPT-2's table): printable Latin-1 as itself."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256))
    return [chr(byte) if byte in printable else chr(256 + next(others)) for byte in range(256)]


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )


def own_pre_tokenizer() -> dict[str, Any]:
    """The pre-tokenizer of tokenizers trained here, as ``tokenizer.json`` states it."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = _pre_tokenizer()
    return dict(json.loads(backend.to_str())["pre_tokenizer"])


class Tokenizer:
    """Text to ids and back.

    Ordinary text never yields a special token: ``<|endoftext|>`` written in a document is encoded as its characters.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, settings: dict[str, Any] | None = None, end_of_text: str | None = None
    ) -> None:
        backend.encode_special_tokens = True
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self._settings = settings
        names = (end_of_text,) if end_of_text else END_OF_TEXT_NAMES
        found = {name: number for name in names if (number := backend.token_to_id(name)) is not None}
        if not found:
            raise UserError(f"The tokenizer has no end-of-text token; looked for {', '.join(names)}.")
        self.end_of_text, self.end_of_text_id = next(iter(found.items()))

    @classmethod
    def from_file(cls, path: Path | str) -> Tokenizer:
        """Load a ``tokenizer.json``.

        The end-of-text token is the ``eos_token`` of a ``tokenizer_config.json`` beside it, or one of the usual names.

        Raises:
            UserError: where the file is missing, is not a tokenizer, or has no end-of-text token.
        """
        path = Path(path).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The tokenizer {path} cannot be read ({error}).") from error
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the Rust library raises plain exceptions
            raise UserError(f"{path} is not a tokenizer.json of the tokenizers library ({error}).") from error
        beside = path.with_name("tokenizer_config.json")
        settings = read_json(beside) if beside.exists() else None
        template = path.with_name("chat_template.jinja")
        if template.exists():
            settings = {**(settings or {}), "chat_template": template.read_text(encoding="utf-8")}
        try:
            return cls(backend, settings, _content((settings or {}).get("eos_token")))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train byte-level BPE; ids 0 to 15 are the special tokens, then 256 bytes, then merges.

        Raises:
            UserError: where the texts have too few pairs for ``vocab_size`` entries.
        """
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = _pre_tokenizer()
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        found = backend.get_vocab_size()
        if found < vocab_size:
            raise UserError(
                f"vocab_size is {vocab_size:,}, and the training text has pairs for {found:,} entries only; "
                f"a vocab_size of at most {found:,} or more text is needed."
            )
        return cls(backend)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, ``tokenizer_config.json`` (with a chat template) and ``special_tokens_map.json``,
        which ``transformers.AutoTokenizer`` loads.
        """
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        settings = self._settings or self._default_settings()
        write_json(folder / "tokenizer_config.json", settings)
        named = {kind: settings[kind] for kind in NAMED if settings.get(kind) is not None}
        write_json(folder / "special_tokens_map.json", named)

    def _default_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.end_of_text,
            "eos_token": self.end_of_text,
            "pad_token": self.end_of_text,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        }
        if self._backend.token_to_id("<|im_start|>") is not None:
            settings["chat_template"] = CHAT_TEMPLATE
        return settings

    @property
    def vocab_size(self) -> int:
        """Number of entries, special tokens included; ids lie below it."""
        return 1 + max(self._backend.get_vocab().values())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tokenizer's own JSON."""
        return sha256_bytes(self.to_json().encode())

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return str(self._backend.to_str())

    @cached_property
    def special_tokens(self) -> dict[str, tokenizers.AddedToken]:
        """The tokens that text never yields, by their text."""
        added = self._backend.get_added_tokens_decoder()
        return {token.content: token for token in added.values() if token.special}

    @property
    def named_tokens(self) -> dict[str, str]:
        """Texts of ``bos_token``, ``eos_token``, ``pad_token`` and ``unk_token``, as far as there are any."""
        settings = self._settings or self._default_settings()
        return {kind: text for kind in NAMED if (text := _content(settings.get(kind))) is not None}

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the chat template; of several, the one named ``default``."""
        found = (self._settings or self._default_settings()).get("chat_template")
        if isinstance(found, list):
            found = {entry["name"]: entry["template"] for entry in found}.get("default")
        return found

    def with_chat_template(self, source: str) -> Tokenizer:
        """The same tokenizer with another chat template, which :meth:`save` writes."""
        settings = {**(self._settings or self._default_settings()), "chat_template": source}
        return Tokenizer(tokenizers.Tokenizer.from_str(self.to_json()), settings, self.end_of_text)

    @cached_property
    def start_ids(self) -> tuple[int, ...]:
        """What comes before a plain text, as in training: the tokens that the tokenizer's own post-processor or its
        settings put there, or the end-of-text token where it is the beginning-of-text token too, as it stood between
        documents then.
        """
        stated = tuple(self._backend.encode("", add_special_tokens=True).ids)
        if stated and stated[-1] == self.end_of_text_id and len(stated) > 1:
            stated = stated[:-1]  # a post-processor that ends texts too
        begin = self.named_tokens.get("bos_token")
        wanted = (self._settings or {}).get("add_bos_token", begin == self.end_of_text)
        if stated or begin is None or not wanted:
            return stated
        return (self.special_token_id(begin),)

    def special_token_id(self, token: str) -> int:
        """Id of a special token such as ``<|im_start|>``.

        Raises:
            UserError: where the tokenizer has no such token.
        """
        found: int | None = self._backend.token_to_id(token)
        if found is None:
            raise UserError(f"The tokenizer has no token {token!r}.")
        return found

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text, without any special token."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of several texts, encoded side by side."""
        return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_with_offsets(self, text: str, special: bool) -> tuple[list[int], list[int]]:
        """Ids, and for each the character of ``text`` after its last; ``special`` tokens in it become themselves.

        Only for text that a chat template wrote: see :mod:`foretell.data.chat`.
        """
        backend = self._backend_with_special if special else self._backend
        encoding = backend.encode(text, add_special_tokens=False)
        return list(encoding.ids), [end for _, end in encoding.offsets]

    @cached_property
    def _backend_with_special(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self.to_json())  # encode_special_tokens is off in a new one

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are left out, and bytes that are not UTF-8 become U+FFFD."""
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes: UTF-8 is encoded as text, every other byte as the token of that byte.

        Raises:
            UserError: where the tokenizer has no token for some bytes.
        """
        tokens = self._byte_ids
        ids: list[int] = []
        start = 0
        while start < len(data):
            try:
                return ids + self.encode(data[start:].decode())
            except UnicodeDecodeError as error:
                ids += self.encode(data[start : start + error.start].decode())
                ids += [tokens[byte] for byte in data[start + error.start : start + error.end]]
                start += error.end
        return ids

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes that ids stand for, also of a part of a text; special tokens are left out, and ids without an entry
        (rows that pad a model's table) stand for nothing. A sentencepiece tokenizer's text begins with a space.

        Raises:
            UserError: where the tokenizer is neither byte-level nor sentencepiece's.
        """
        pieces = self._pieces
        return b"".join(pieces.get(number, b"") for number in ids)

    @cached_property
    def _byte_names(self) -> list[str]:
        """The token of each byte 0 to 255: ByteLevel's character, or sentencepiece's ``<0x0A>``."""
        falls_back = getattr(self._backend.model, "byte_fallback", False)
        return [f"<0x{byte:02X}>" for byte in range(256)] if falls_back else byte_characters()

    @cached_property
    def _byte_ids(self) -> list[int]:
        vocabulary = self._backend.get_vocab()
        found = [vocabulary[name] for name in self._byte_names if name in vocabulary]
        if len(found) < 256:
            raise UserError("This tokenizer is not byte-level: it has no token for some bytes.")
        return found

    @cached_property
    def _pieces(self) -> dict[int, bytes]:
        """Bytes of each id."""
        byte_of = {name: byte for byte, name in enumerate(self._byte_names)}
        added = self._backend.get_added_tokens_decoder()
        by_letter = len(self._byte_names[0]) == 1
        pieces: dict[int, bytes] = {}
        for token, number in self._backend.get_vocab().items():
            if number in added:
                pieces[number] = b"" if added[number].special else added[number].content.encode()
            elif by_letter:
                if any(character not in byte_of for character in token):
                    raise UserError(f"This tokenizer is not byte-level: its token {token!r} stands for no bytes.")
                pieces[number] = bytes(byte_of[character] for character in token)
            else:
                pieces[number] = bytes([byte_of[token]]) if token in byte_of else token.replace(SPACE, " ").encode()
        return pieces


def train_tokenizer(
    corpus_folder: Path, config: TokenizerConfig, folder: Path, others: Iterable[str] = ()
) -> Tokenizer:
    """Train a tokenizer on the training split of a frozen corpus, or load ``config.file``, and save it.

    At most 10 MB are used: the first training documents, whose order is already a random one, and all of ``others``.

    Raises:
        UserError: where the corpus or the file is broken, or the corpus is too small for ``vocab_size``.
    """
    if config.file is not None:
        tokenizer = Tokenizer.from_file(config.file)
    else:
        with meter("reading text for the tokenizer (bytes)", TRAINING_BYTES) as shown:
            texts = chain(_training_texts(corpus_folder, shown.advance), others)
            tokenizer = Tokenizer.train(texts, config.vocab_size)
    tokenizer.save(folder)
    return tokenizer


def _training_texts(corpus_folder: Path, advance: Callable[[float], None]) -> Iterator[str]:
    total = 0
    for row in read_documents(corpus_folder, ["text", "bytes"], "train"):
        if total and total + row["bytes"] > TRAINING_BYTES:
            return
        total += row["bytes"]
        yield row["text"]
        advance(row["bytes"])
