"""Wordings of questions about diagrams; every word of a held-out one is in a training one."""

from __future__ import annotations

from foretell.data.visual.generator.family import Phrasings

PHRASINGS: dict[str, Phrasings] = {
    "target": Phrasings(
        train=(
            "what does {name} point to?",
            "which box does {name} point to?",
            "where does the arrow from {name} lead?",
            "{name} points to which box?",
            "the arrow from {name} leads to what?",
            "to which box does the arrow from {name} lead?",
            "in the diagram, what does the box {name} point to?",
            "name the box that {name} points to.",
            "follow the arrow from {name}: which box is there?",
        ),
        heldout=(
            "in the diagram, which box does {name} point to?",
            "the arrow from {name} leads to which box?",
            "where does the box {name} point to?",
        ),
    ),
    "source": Phrasings(
        train=(
            "what points to {name}?",
            "which box points to {name}?",
            "where does the arrow to {name} come from?",
            "from which box does an arrow lead to {name}?",
            "the arrow to {name} comes from what?",
            "an arrow leads to {name} from which box?",
            "in the diagram, what points to the box {name}?",
            "name the box that points to {name}.",
        ),
        heldout=(
            "in the diagram, which box points to {name}?",
            "the arrow to {name} comes from which box?",
            "from which box does the arrow to {name} come?",
        ),
    ),
    "arrow": Phrasings(
        train=(
            "is there an arrow from {one} to {other}?",
            "does {one} point to {other}?",
            "does an arrow lead from {one} to {other}?",
            "is it true that {one} points to {other}?",
            "does the box {one} point to the box {other}?",
            "in the diagram, is there an arrow from {one} to {other}?",
            "do you see an arrow from {one} to {other}?",
            "does the arrow from {one} lead to {other}?",
        ),
        heldout=(
            "in the diagram, does {one} point to {other}?",
            "do you see an arrow that leads from {one} to {other}?",
            "is there an arrow from the box {one} to the box {other}?",
        ),
    ),
    "follow": Phrasings(
        train=(
            "start at {name} and follow two arrows: where do you end?",
            "which box is two arrows from {name}?",
            "where do two arrows lead from {name}?",
            "from {name}, follow two arrows: which box is there?",
            "what do you come to after two arrows from {name}?",
            "follow the arrow from {name}, and then the next: where do you end?",
            "two arrows from {name} lead to which box?",
            "start at the box {name}: what is two arrows on?",
        ),
        heldout=(
            "start at {name} and follow two arrows: which box is there?",
            "to which box do two arrows lead from {name}?",
            "from {name}, follow two arrows: where do you end?",
        ),
    ),
    "boxes": Phrasings(
        train=(
            "how many boxes are there?",
            "how many boxes does the diagram have?",
            "count the boxes.",
            "what is the number of boxes?",
            "how many boxes do you see?",
            "in the diagram, how many boxes are there?",
            "tell me the number of boxes.",
            "the diagram has how many boxes?",
        ),
        heldout=(
            "count the boxes in the diagram.",
            "what is the number of boxes in the diagram?",
            "how many boxes do you see in the diagram?",
        ),
    ),
}
