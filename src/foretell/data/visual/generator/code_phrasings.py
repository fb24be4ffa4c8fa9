"""Wordings of questions about code; every word of a held-out one is in a training one."""

from __future__ import annotations

from foretell.data.visual.generator.family import Phrasings

PHRASINGS: dict[str, Phrasings] = {
    "function": Phrasings(
        train=(
            "what is the name of the {nth}function?",
            "what is the {nth}function called?",
            "which name does the {nth}function have?",
            "read the name of the {nth}function.",
            "how is the {nth}function called in the code?",
            "in the code, what is the name of the {nth}function?",
            "the {nth}function has which name?",
            "tell me the name of the {nth}function.",
        ),
        heldout=(
            "in the code, what is the {nth}function called?",
            "which name does the code give the {nth}function?",
            "read the name that the {nth}function has in the code.",
        ),
    ),
    "returned": Phrasings(
        train=(
            "what does the {it} return?",
            "which number does the {it} return?",
            "what number is returned by the {it}?",
            "which value is returned by the {it}?",
            "the {it} returns what?",
            "in the code, what does the {it} return?",
            "tell me the number that the {it} returns.",
            "what does the code give back from the {it}?",
        ),
        heldout=(
            "which value does the {it} return?",
            "in the code, which number is returned by the {it}?",
            "tell me what the {it} returns.",
        ),
    ),
    "arguments": Phrasings(
        train=(
            "how many arguments does the {it} take?",
            "how many arguments does the {it} have?",
            "count the arguments of the {it}.",
            "what is the number of arguments of the {it}?",
            "the {it} takes how many arguments?",
            "in the code, how many arguments has the {it}?",
            "tell me how many arguments the {it} takes.",
            "with how many arguments is the {it} called?",
        ),
        heldout=(
            "in the code, how many arguments does the {it} take?",
            "the {it} has how many arguments?",
            "tell me the number of arguments of the {it}.",
        ),
    ),
    "variable": Phrasings(
        train=(
            "what is the value of {name} in the {it}?",
            "which number is {name} in the {it}?",
            "what value does {name} have in the {it}?",
            "in the {it}, what is {name}?",
            "read the value of {name} in the {it}.",
            "to which number does the {it} set {name}?",
            "tell me what {name} is in the {it}.",
            "the {it} sets {name} to which value?",
        ),
        heldout=(
            "in the {it}, what is the value of {name}?",
            "which value does {name} have in the {it}?",
            "to which value does the {it} set {name}?",
        ),
    ),
}
