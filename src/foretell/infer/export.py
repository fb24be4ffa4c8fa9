"""A loaded model as the world's files: GGUF for llama.cpp, or a directory for transformers and vLLM."""

from __future__ import annotations

from pathlib import Path

from foretell.core.errors import UserError
from foretell.core.gguf import write_gguf
from foretell.data.gguf_vocabulary import gguf_vocabulary
from foretell.infer.loading import LoadedModel
from foretell.model.gguf_write import FILE_TYPES, architecture_of, gguf_metadata, gguf_tensors
from foretell.model.hf import save_hf

DEFAULT_TYPE = "f16"


def export_model(model: LoadedModel, out: Path, file_type: str | None = None) -> None:
    """Write ``out``: a GGUF file where it ends in ``.gguf``, else a Hugging Face directory in float32.

    Args:
        model: packed matrices are unpacked first, and packed anew in the type asked for.
        out: replaced where it is a file; a directory's other files stay.
        file_type: of a GGUF file, one of :data:`FILE_TYPES`; ``f16`` where left out.

    Raises:
        UserError: for another type, a model or tokenizer that cannot leave in that form (as one that reads images in a
            GGUF file), or a place that cannot be written.
    """
    if out.suffix == ".gguf":
        file_type = file_type or DEFAULT_TYPE
        if file_type not in FILE_TYPES:
            raise UserError(f"type is {file_type!r}; {', '.join(FILE_TYPES)} are accepted.")
        config = model.decoder.config
        metadata = {"general.name": model.name} | gguf_metadata(config, file_type)
        metadata |= gguf_vocabulary(model.tokenizer, config.vocab_size, model.end_of_turn_ids)
        write_gguf(out, architecture_of(config), metadata, gguf_tensors(model.decoder, file_type))
        return
    if file_type not in (None, "f32"):
        raise UserError(f"type is {file_type!r}; a directory is written in f32, other types are those of .gguf files.")
    if out.is_file():
        raise UserError(f"{out} is a file; a directory or a name that ends in .gguf is expected.")
    names = model.image_names
    save_hf(
        model.decoder, out, model.special_ids, (names[0], names[1], names[2]) if names and len(names) == 3 else None
    )
    model.tokenizer.save(out)
