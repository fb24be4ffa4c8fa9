"""Wordings of questions about two images; every word of a held-out one is in a training one."""

from __future__ import annotations

from foretell.data.visual.generator.family import Phrasings


def _by_number(more: str, most: str) -> Phrasings:
    """Of two numbers: which image has ``more`` (or fewer) than the other."""
    return Phrasings(
        train=(
            f"which image has {more} {{things}}?",
            f"which image shows {more} {{things}}, the first or the second?",
            f"are there {more} {{things}} in the first image or in the second?",
            f"in which image are there {more} {{things}}?",
            f"which of the two images has the {most} {{things}}?",
            f"which picture contains {more} {{things}}?",
            f"do you see {more} {{things}} in the first or in the second image?",
            f"compare the images: which one has {more} {{things}}?",
            f"tell me which picture shows the {most} {{things}}.",
        ),
        heldout=(
            f"which picture has {more} {{things}}, the first or the second?",
            f"compare the two images: in which are there {more} {{things}}?",
            f"which of the images shows the {most} {{things}}?",
            f"in which picture do you see {more} {{things}}?",
        ),
    )


PHRASINGS: dict[str, Phrasings] = {
    "more": _by_number("more", "most"),
    "fewer": _by_number("fewer", "fewest"),
    "same": Phrasings(
        train=(
            "do both images show the same {what}?",
            "is the {what} the same in both images?",
            "is the {what} of the object the same in the two images?",
            "do the two objects have the same {what}?",
            "compare the images: is the {what} the same?",
            "does the second image show the same {what} as the first?",
            "have the objects of both images the same {what}?",
            "is it true that both pictures show the same {what}?",
        ),
        heldout=(
            "do the two pictures show the same {what}?",
            "is it true that the {what} is the same in both images?",
            "compare the two images: do the objects have the same {what}?",
        ),
    ),
    "changed": Phrasings(
        train=(
            "what is different: colour, shape, position or number?",
            "what differs between the two images: shape, colour, number or position?",
            "what has changed from the first image to the second: number, position, shape or colour?",
            "compare the images: what is different, position, number, colour or shape?",
            "one thing has changed. is it the colour, the number, the shape or the position?",
            "tell me what differs: colour, position, number or shape.",
            "between the first picture and the second, what changed: shape, position, colour or number?",
            "do the images differ in number, colour, position or shape?",
        ),
        heldout=(
            "what has changed between the images: colour, number, position or shape?",
            "compare the two pictures: what differs, shape, number, colour or position?",
            "is it the position, the shape, the number or the colour that is different?",
        ),
    ),
    "image": Phrasings(
        train=(
            "what {what} is in the {nth} image?",
            "which {what} does the {nth} image show?",
            "what is the {what} of the object in the {nth} image?",
            "in the {nth} image, what {what} do you see?",
            "name the {what} in the {nth} picture.",
            "the {nth} image shows which {what}?",
            "what {what} does the object of the {nth} picture have?",
            "tell me the {what} of the object in the {nth} image.",
        ),
        heldout=(
            "which {what} is in the {nth} picture?",
            "in the {nth} picture, which {what} does the object have?",
            "name the {what} of the object in the {nth} image.",
        ),
    ),
}
