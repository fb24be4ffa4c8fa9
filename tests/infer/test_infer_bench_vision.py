"""Both peers of ``foretell bench vision`` are asked the same and answer the same."""

import numpy as np
import pytest
from small_model import built_kernels

from foretell.core.errors import UserError
from foretell.infer.bench_vision import (
    END_ID,
    LINE_ID,
    PARTS,
    PATCH_ID,
    bench_shape,
    bench_vision,
    foretell_peer,
    ids_of,
    transformers_peer,
    work_of,
)
from foretell.model.decoder import build_decoder
from foretell.model.hf import save_hf


def test_ids_lay_an_image_out_in_lines() -> None:
    line = [PATCH_ID, PATCH_ID, LINE_ID]
    expected = [*line, *line[:-1], END_ID, *line[:-2], END_ID, 7, 8]
    assert ids_of([(2, 2), (1, 1)], (7, 8)).tolist() == [expected]


def test_both_peers_give_the_same_logits(tmp_path) -> None:
    pytest.importorskip("transformers")
    built_kernels()
    config = bench_shape("small")
    save_hf(build_decoder(config), tmp_path)
    work = work_of(config, 1)
    ours, theirs = (peer(str(tmp_path), 1)(work) for peer in (foretell_peer, transformers_peer))
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
    for done in (ours, theirs):
        assert tuple(done.seconds) == PARTS and all(value > 0 for value in done.seconds.values())
        assert done.seconds["all"] == pytest.approx(sum(done.seconds[part] for part in PARTS[:-1]))


def test_what_it_refuses() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(UserError, match="--shapes has 'large'; small and smollm2 are known"):
        bench_vision(["large"], 3)
    with pytest.raises(UserError, match="--rounds is 2; at least 3"):
        bench_vision(["small"], 2)
