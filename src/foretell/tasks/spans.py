"""Answers that are spans of text: exact match and F1 of words, as SQuAD and HotpotQA and as DROP measure them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces (Rajpurkar et al. 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the answer equals an accepted one after :func:`normalised`, else 0."""
    return float(normalised(answer) in {normalised(one) for one in accepted})


def word_f1(answer: str, accepted: Sequence[str]) -> float:
    """Highest F1 of the words of the answer against an accepted one, 0 to 1.

    As HotpotQA's evaluation (Yang et al. 2018), which gives "yes", "no" and "noanswer" no partial credit.
    """
    return max((_pair_f1(normalised(answer), normalised(one)) for one in accepted), default=0.0)


def _pair_f1(left: str, right: str) -> float:
    if left != right and {left, right} & {"yes", "no", "noanswer"}:
        return 0.0
    common = sum((Counter(left.split()) & Counter(right.split())).values())
    if not common:
        return float(left == right)
    precision, recall = common / len(left.split()), common / len(right.split())
    return 2 * precision * recall / (precision + recall)


def drop_scores(answer: Sequence[str], accepted: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Exact match and F1 of DROP, the best over accepted answers; each answer is one or more spans.

    Spans are matched one to one so that their F1 is highest, spans with numbers only where they share one, and the mean
    is rounded to two decimals (Dua et al. 2019, ``drop_eval.py``).
    """
    best_exact = best_f1 = 0.0
    given, given_words = _bags(answer)
    for one in accepted:
        if not one or not one[0].strip():
            continue
        wanted, wanted_words = _bags(one)
        best_exact = max(best_exact, float(set(given) == set(wanted) and len(given) == len(wanted)))
        best_f1 = max(best_f1, _aligned_f1(given_words, wanted_words))
    return best_exact, best_f1


def _bags(spans: Sequence[str]) -> tuple[list[str], list[set[str]]]:
    texts = [_drop_normalised(span) for span in spans]
    return texts, [set(text.split()) for text in texts]


def _drop_normalised(text: str) -> str:
    words = []
    for token in re.split(r"[ -]", text.lower()):
        bare = token if _is_number(token) else token.translate(_PUNCTUATION)
        words.append(" ".join(_ARTICLES.sub(" ", str(float(bare)) if _is_number(bare) else bare).split()))
    return " ".join(word for word in words if word)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _aligned_f1(given: Sequence[set[str]], wanted: Sequence[set[str]]) -> float:
    scores = np.array([[_bag_f1(one, other) for other in given] for one in wanted]).reshape(len(wanted), len(given))
    rows, columns = linear_sum_assignment(-scores)
    # Rounded as NumPy does, halves to even, because the published code does so.
    matched = np.zeros(max(len(given), len(wanted)))
    matched[rows] = scores[rows, columns]
    return float(np.round(np.mean(matched), 2))


def _bag_f1(wanted: set[str], given: set[str]) -> float:
    figures = {word for word in wanted if _is_number(word)}
    if figures and not figures & given:
        return 0.0
    common = len(wanted & given)
    precision = common / len(given) if given else 1.0
    recall = common / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
