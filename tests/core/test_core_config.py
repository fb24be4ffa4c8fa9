import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.config import Settings, build, differences, merge, parse_overrides, read_yaml
from foretell.core.errors import UserError


class Inner(Settings):
    flops: float = 1.0
    widths: tuple[int, ...] = (1, 2)


class Outer(Settings):
    target: Inner = Inner()
    seed: int = 0


def test_dotted_overrides_are_read_as_yaml() -> None:
    values = parse_overrides(["--target.flops", "1e14", "--target.widths=[8, 16]", "--seed", "-3"])
    settings = build(Outer, values)
    assert settings.target.flops == 1e14
    assert settings.target.widths == (8, 16)
    assert settings.seed == -3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target": {"flop": 1}}, ["target.flop", "did you mean 'target.flops'"]),
        ({"target": {"flops": "many"}}, ["target.flops", "'many'", "number"]),
        ({"sed": 1}, ["'sed'", "did you mean 'seed'"]),
        ({"zzz": 1}, ["'zzz'", "target, seed"]),
        ({"seed": 1.5}, ["seed", "1.5", "integer"]),
        ({"target": {"flops": float("nan")}}, ["target.flops", "finite"]),
    ],
)
def test_faults_name_field_value_and_what_is_accepted(values: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        build(Outer, values)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("arguments", [["value"], ["--seed"], ["--seed", "--target.flops"], ["--seed", "[1"], ["--"]])
def test_malformed_overrides(arguments: list[str]) -> None:
    with pytest.raises(UserError):
        parse_overrides(arguments)


def test_a_plain_value_cannot_become_a_section() -> None:
    with pytest.raises(UserError, match="plain value"):
        parse_overrides(["--target", "3", "--target.flops", "1"])


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "\x00"])
def test_recipes_that_are_not_mappings(tmp_path, content: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"recipe\.yaml"):
        read_yaml(path)


def test_binary_and_missing_recipes(tmp_path) -> None:
    (tmp_path / "x.yaml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match="not readable"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="does not exist"):
        read_yaml(tmp_path / "y.yaml")


keys = st.text(string.ascii_lowercase, min_size=1, max_size=4)
trees = st.recursive(st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(keys, inner, max_size=3))


@given(st.dictionaries(keys, trees, max_size=4), st.dictionaries(keys, trees, max_size=4))
def test_merging_lays_the_second_over_the_first(base: dict, over: dict) -> None:
    merged = merge(base, over)
    assert merge(merged, over) == merged
    assert set(merged) == set(base) | set(over)
    assert differences(merged, merge(base, over)) == []


@given(st.dictionaries(keys, st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_overrides_round_trip(values: dict) -> None:
    arguments = [part for key, value in values.items() for part in (f"--{key}", f"{value!r}")]
    parsed = parse_overrides(arguments)
    assert {key: float(value) for key, value in parsed.items()} == pytest.approx(values)


def test_differences_name_the_key() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"b": 2}}) == ["a.b (1 there, 2 now)"]


def test_equal_settings_share_a_digest() -> None:
    assert build(Outer, {"seed": 1}).digest() == Outer(seed=1).digest() != Outer(seed=2).digest()
