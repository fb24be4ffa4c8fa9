"""MinHash near-duplicates against the exact Jaccard similarity of word 5-shingles."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from foretell.data.deduplicate import NearDuplicates, band_rows, signatures


def exact_jaccard(one, two):
    def shingles(text):
        words = text.split()
        return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}

    first, second = shingles(one), shingles(two)
    return len(first & second) / len(first | second)


def edited(text, changes, rng):
    words = text.split()
    for _ in range(changes):
        words[rng.randrange(len(words))] = f"new{rng.random()}"
    return " ".join(words)


def random_text(rng, words=600):
    return " ".join(f"w{rng.randrange(5000)}" for _ in range(words))


def pairs(count, changes, seed=0):
    rng = random.Random(seed)
    texts = [random_text(rng) for _ in range(count)]
    return [(text, edited(text, changes, rng)) for text in texts]


@pytest.mark.parametrize(
    ("changes", "low", "high", "least", "most"),
    [(3, 0.92, 0.97, 0.99, 1.0), (7, 0.84, 0.92, 0.9, 1.0), (22, 0.62, 0.74, 0.0, 0.03), (60, 0.2, 0.45, 0.0, 0.0)],
)
def test_recall_above_and_precision_below_the_threshold(changes, low, high, least, most):
    found = 0
    sample = pairs(200, changes)
    similarities = [exact_jaccard(one, two) for one, two in sample]
    assert low < np.mean(similarities) < high
    for one, two in sample:
        index = NearDuplicates(0.8)
        first, second = signatures([one, two])
        index.keep(0, first)
        found += index.match(second) == 0
    assert least <= found / len(sample) <= most


def test_a_crowd_of_documents_hides_no_pair():
    rng = random.Random(1)
    sample = pairs(300, 2, seed=2)
    index = NearDuplicates(0.8)
    for number, signature in enumerate(signatures([one for one, _ in sample])):
        assert index.match(signature) is None
        index.keep(number, signature)
    matches = [index.match(signature) for signature in signatures([two for _, two in sample])]
    assert matches == list(range(300))
    assert not any(index.match(signature) is not None for signature in signatures([random_text(rng)] * 2))


def test_word_order_counts_and_white_space_does_not():
    words = [f"w{n}" for n in range(300)]
    straight, spaced, reverse = " ".join(words), "\n\t ".join(words), " ".join(reversed(words))
    index = NearDuplicates(0.8)
    one, two, three = signatures([straight, spaced, reverse])
    index.keep(5, one)
    assert index.match(two) == 5
    assert index.match(three) is None


def test_texts_shorter_than_a_shingle():
    index = NearDuplicates(0.8)
    one, same, other, empty = signatures(["a b c", "a  b\nc", "a b d", ""])
    index.keep(0, one)
    assert index.match(same) == 0
    assert index.match(other) is None
    assert index.match(empty) is None


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold):
    rows = band_rows(threshold)
    assert 128 % rows == 0
    assert 1 - (1 - threshold**rows) ** (128 // rows) >= 0.99


def test_signatures_do_not_depend_on_hash_seed_or_threads():
    texts = ["alpha beta gamma delta epsilon zeta " * 9, "x y"] * 20
    program = (
        "import json, sys; from foretell.data.deduplicate import signatures; "
        "print(json.dumps([s.digest() for s in signatures(json.load(sys.stdin))]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, input=json.dumps(texts).encode(), env=environment, capture_output=True, check=True)
    assert json.loads(result.stdout) == [list(signature.digest()) for signature in signatures(texts)]
