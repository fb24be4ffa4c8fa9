"""Adapters of a model with a vision half change its language model only, and PEFT reads and writes them so."""

import json
import warnings

import pytest
import torch
from adapted_models import filled
from safetensors.torch import load_file, save_file
from test_model_llava import PIECES, SIZES, pixels
from visual_models import pictures, prompt, randomised, visual

from foretell.core.errors import UserError
from foretell.model.adapters import AdapterSet
from foretell.model.hf import load_hf, save_hf
from foretell.model.lora import Adapter, LoRAConfig, targeted_sites
from foretell.model.peft import CONFIG_FILE, WEIGHTS_FILE, read_adapter, save_adapter

CONFIG = visual(context=128)
OURS = [LoRAConfig(rank=4), LoRAConfig(rank=2, targets="all-linear"),
        LoRAConfig(rank=2, targets=r".*\.layers\.1\..*(k|down)_proj")]  # fmt: skip


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "o_proj", "down_proj"), r".*(q|o|gate)_proj"])
def test_targets_name_the_language_model_only(targets) -> None:
    sites = targeted_sites(CONFIG, targets)
    assert sites and all(site.name.startswith("model.language_model.layers.") for site in sites)
    assert all(site.module.startswith("blocks.") for site in sites)
    with pytest.raises(UserError, match=r"no layer is called so.*as in model.language_model.layers.0"):
        targeted_sites(CONFIG, ("linear_1",))


def test_training_an_adapter_leaves_both_halves_alone() -> None:
    model = randomised(CONFIG)
    adapter = filled(Adapter(CONFIG, OURS[1]))
    adapter.attach(model)
    patches, places = pictures([SIZES])
    ids = prompt(PIECES)
    model.loss(ids, ids, patches=patches, places=places).backward()
    with_gradients = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradients and all(".update." in name and name.startswith("blocks.") for name in with_gradients)


@pytest.mark.parametrize("number", range(len(OURS)))
def test_peft_loads_ours(tmp_path, number: int) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = randomised(CONFIG)
    adapter = filled(Adapter(CONFIG, OURS[number]))
    save_hf(model, tmp_path / "base")
    save_adapter(adapter, tmp_path / "adapter", base=str(tmp_path / "base"))
    theirs = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns of missing and unexpected tensors
        theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    ids = prompt(PIECES)
    patches, places = pictures([SIZES])
    with torch.no_grad():
        before = model(ids, patches=patches, places=places)
        expected = theirs(input_ids=ids, **pixels(patches)).logits
        served = AdapterSet(randomised(CONFIG))
        index = served.add("one", read_adapter(tmp_path / "adapter", CONFIG))
        with served.select(torch.full_like(ids, index)):
            chosen = served.model(ids, patches=patches, places=places)
        torch.testing.assert_close(chosen, expected, rtol=1e-4, atol=1e-4)
        adapter.merge(model)
        torch.testing.assert_close(model(ids, patches=patches, places=places), expected, rtol=1e-4, atol=1e-4)
        assert (expected - before).abs().max() > 1e-3


@pytest.mark.parametrize("old", [False, True])
def test_we_load_pefts(tmp_path, old: bool) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    save_hf(randomised(CONFIG), tmp_path / "base")
    theirs = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|up_proj)", init_lora_weights=False)
    theirs = peft.get_peft_model(theirs, config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    if old:  # names before transformers 4.52
        tensors = load_file(tmp_path / "adapter" / WEIGHTS_FILE)
        renamed = {name.replace("model.model.language_model.", "model.language_model.model."): tensor
                   for name, tensor in tensors.items()}  # fmt: skip
        assert renamed.keys() != tensors.keys()
        save_file(renamed, tmp_path / "adapter" / WEIGHTS_FILE)
    loaded = load_hf(tmp_path / "base")
    read_adapter(tmp_path / "adapter", loaded.config).merge(loaded)
    ids = prompt(PIECES)
    patches, places = pictures([SIZES])
    with torch.no_grad():
        found = loaded(ids, patches=patches, places=places)
        torch.testing.assert_close(found, theirs(input_ids=ids, **pixels(patches)).logits, rtol=1e-4, atol=1e-4)


def test_an_adapter_of_the_vision_half_is_refused(tmp_path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    save_hf(randomised(CONFIG), tmp_path / "base")
    theirs = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    theirs = peft.get_peft_model(theirs, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    theirs.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match=r"vision_tower.*q_proj.*another layer than the language model's"):
        read_adapter(tmp_path / "adapter", CONFIG)
    assert json.loads((tmp_path / "adapter" / CONFIG_FILE).read_text())["peft_type"] == "LORA"
