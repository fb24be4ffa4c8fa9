import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.model.quantised import QuantisedLinear, QuantisedMatrix, concatenated, packed_nibbles, quantise


def weights(outputs: int = 12, inputs: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("bits", "steps"), [(4, 15), (8, 254)])
def test_rounding_is_to_the_nearest_level(bits: int, steps: int) -> None:
    weight = weights()
    matrix = quantise(weight, bits)
    assert matrix.shape == (12, 64) and matrix.bits == bits and matrix.group == 32
    grouped = weight.unflatten(1, (-1, 32))
    width = grouped.amax(2) - grouped.amin(2) if bits == 4 else 2 * grouped.abs().amax(2)
    error = (matrix.dequantised() - weight).abs().unflatten(1, (-1, 32)).amax(2)
    assert (error <= width / steps / 2 * (1 + 1e-5)).all()
    assert matrix.bytes < weight.nbytes / (4 if bits == 4 else 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([2, 16, 32]), st.integers(0, 2**31))
def test_levels_survive_packing(outputs: int, groups: int, group: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 16, (outputs, groups * group), generator=generator)
    scale, minimum = (torch.randn(outputs, groups, generator=generator) for _ in range(2))
    matrix = QuantisedMatrix(packed_nibbles(levels), scale, minimum)
    assert torch.equal(matrix.levels(), levels.to(torch.uint8)) and matrix.group == group
    one_by_one = [[scale[n, k // group].double() * levels[n, k] + minimum[n, k // group]
                   for k in range(levels.shape[1])]
                  for n in range(outputs)]  # fmt: skip
    torch.testing.assert_close(matrix.dequantised().double(), torch.tensor(one_by_one).double(), rtol=1e-5, atol=1e-5)


def test_rows_and_concatenation() -> None:
    first, second = quantise(weights(seed=1), 4), quantise(weights(seed=2), 4)
    both = concatenated([first, second])
    torch.testing.assert_close(both.dequantised(), torch.cat([first.dequantised(), second.dequantised()]))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(both.rows(order).dequantised(), both.dequantised()[order])
    without = QuantisedMatrix(first.values, first.scale, None)
    torch.testing.assert_close(concatenated([without, second]).dequantised()[:12], without.dequantised())
    with pytest.raises(ValueError, match="differ"):
        concatenated([first, quantise(weights(), 8)])


@pytest.mark.parametrize("bits", [4, 8])
def test_a_linear_layer_computes_and_passes_gradients_as_its_dequantised_weights_do(bits: int) -> None:
    matrix = quantise(weights(), bits)
    bias = torch.randn(12)
    x = torch.randn(2, 3, 64, requires_grad=True)
    ours = QuantisedLinear(matrix, bias)(x)
    (gradient,) = torch.autograd.grad(ours.square().sum(), x)
    theirs = F.linear(x, matrix.dequantised(), bias)
    (expected,) = torch.autograd.grad(theirs.square().sum(), x)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, expected)
    assert not list(QuantisedLinear(matrix).parameters())


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(UserError, match="bits is 3"):
        quantise(weights(), 3)
    with pytest.raises(UserError, match="60 inputs"):
        quantise(weights(inputs=60), 4)


def test_a_group_of_equal_weights_stays_as_it_is() -> None:
    for value in (0.0, 0.7, -0.7):
        for bits in (4, 8):
            flat = torch.full((2, 32), value)
            torch.testing.assert_close(quantise(flat, bits).dequantised(), flat)
