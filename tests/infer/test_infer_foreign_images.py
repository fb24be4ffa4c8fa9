"""Models whose image encoder transformers runs: squares of pixels, a token a patch and no others."""

import json
from pathlib import Path

import numpy as np
import pytest
import seeing_model
import small_model
import torch

from foretell.core.errors import UserError
from foretell.data.images import ImageTokens, patches_of, prepare_square
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.images import PreparedImage
from foretell.infer.loading import load_model
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling

IMAGE = 3
TEXT = {"model_type": "llama", "vocab_size": small_model.VOCABULARY, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 40,
        "max_position_embeddings": 200}  # fmt: skip
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
         "image_size": 30, "patch_size": 7}  # fmt: skip
SIGLIP = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
SIZES = ((30, 30), (61, 40), (40, 97), (200, 31), (13, 9))


@pytest.fixture(params=["clip", "siglip"])
def folder(request, tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    tower = {**TOWER, "model_type": f"{request.param}_vision_model"}
    config = transformers.LlavaConfig(vision_config=tower, text_config=TEXT, image_token_index=IMAGE,
                                      **SIGLIP if request.param == "siglip" else {})  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    model.save_pretrained(tmp_path / request.param)
    small_model.tokenizer().save(tmp_path / request.param)
    (tmp_path / request.param / "processor_config.json").write_text(json.dumps(
        {"processor_class": "LlavaProcessor", "image_token": "<|image|>", "patch_size": 7}))  # fmt: skip
    return tmp_path / request.param


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_squares_are_those_of_transformers(kind: str, size: tuple[int, int]) -> None:
    pytest.importorskip("transformers")
    if kind == "clip":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Processor

        theirs = Processor(size={"shortest_edge": 30}, crop_size={"height": 30, "width": 30})
    else:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil as Processor

        theirs = Processor(size={"height": 30, "width": 30}, resample=3)
    image = seeing_model.picture(*size)
    expected = np.asarray(theirs(image, do_rescale=False, do_normalize=False)["pixel_values"][0])
    found = prepare_square(image, 7, 30, crop=kind == "clip")
    assert found.shape == (28, 28, 3)
    np.testing.assert_array_equal(found.transpose(2, 0, 1), expected[:, :28, :28])


@pytest.mark.parametrize("native", [True, False])
def test_it_answers_what_the_model_itself_computes(folder: Path, native: bool) -> None:
    if native:
        small_model.built_kernels()
    model = load_model(str(folder))
    reader, plain = model.images, load_model(str(folder)).decoder.eval()
    assert reader.tokens == ImageTokens(IMAGE) and len(reader.tokens.run(4, 4)) == 16
    images = [reader.prepared(seeing_model.picture(50, 33, seed)) for seed in (1, 2)]
    ids = reader.expanded([40, 41, IMAGE, 42, IMAGE, 43, 44], images)
    assert len(ids) == 5 + 32
    foreign = plain.config.vision.foreign
    pairs = [patches_of(image.pixels, 7, foreign.mean, foreign.deviation) for image in images]
    patches = torch.cat([torch.from_numpy(patches) for patches, _ in pairs]).unsqueeze(0)
    places = [torch.nn.functional.pad(torch.from_numpy(spots), (1, 0), value=n) for n, (_, spots) in enumerate(pairs)]
    with torch.inference_mode():
        shares = torch.log_softmax(plain(torch.tensor([ids]), None, patches, torch.cat(places).unsqueeze(0))[0], -1)
    options = EngineOptions(memory=2**22, native=native, chunk=5, long_chunk=5)
    engine = Engine(model.decoder, model.tokenizer, options)
    request = Request(tuple(ids), 3, Sampling(temperature=0), images=tuple(images), prompt_logprobs=0)
    (answer,) = engine.complete([request])
    found = torch.tensor([one.logprob for one in answer.prompt_logprobs])
    expected = shares[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert engine.encoder.encoded == 2
    (again,) = engine.complete([request])
    assert again.tokens == answer.tokens and engine.encoder.encoded == 2
    wrong = PreparedImage(np.zeros((28, 21, 3), np.uint8))
    with pytest.raises(UserError, match="both sides 28"):
        engine.submit(Request(tuple(reader.tokens.run(4, 3)), 1, images=(wrong,)))


def test_names_of_its_token(folder: Path) -> None:
    path = folder / "processor_config.json"
    path.unlink()
    with pytest.raises(UserError, match="no token '<image>'"):
        load_model(str(folder))
    path.write_text(json.dumps({"image_token": "<|image|>", "patch_size": 14}))
    with pytest.raises(UserError, match="patch_size is 14; 7 is read"):
        load_model(str(folder))
