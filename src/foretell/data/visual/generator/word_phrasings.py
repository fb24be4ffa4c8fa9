"""Wordings of questions about printed text; every word of a held-out one is in a training one."""

from __future__ import annotations

from foretell.data.visual.generator.family import Phrasings

PHRASINGS: dict[str, Phrasings] = {
    "word": Phrasings(
        train=(
            "what word is printed?",
            "which word is printed in the image?",
            "what is the word?",
            "read the word.",
            "which word do you see?",
            "what word does the image show?",
            "what word is written here?",
            "the word in the picture is what?",
            "tell me the word in the image.",
            "which word can be read?",
        ),
        heldout=(
            "what word do you see in the image?",
            "read the word in the picture.",
            "which word is written in the image?",
            "what word can be read here?",
        ),
    ),
    "number": Phrasings(
        train=(
            "what number is printed?",
            "which number is printed in the image?",
            "what is the number?",
            "read the number.",
            "which number do you see?",
            "what number does the image show?",
            "what number is written here?",
            "the number in the picture is what?",
            "tell me the number in the image.",
            "which number can be read?",
        ),
        heldout=(
            "what number do you see in the image?",
            "read the number in the picture.",
            "which number is written in the image?",
            "what number can be read here?",
        ),
    ),
    "line": Phrasings(
        train=(
            "what is on the {nth} line?",
            "what is printed on the {nth} line?",
            "read the {nth} line.",
            "what does the {nth} line say?",
            "what do you see on the {nth} line?",
            "which text is written on the {nth} line?",
            "tell me what the {nth} line says.",
            "the {nth} line says what?",
            "what can be read on the {nth} line of the image?",
        ),
        heldout=(
            "what is written on the {nth} line?",
            "read what the {nth} line says.",
            "in the image, what does the {nth} line say?",
        ),
    ),
    "which": Phrasings(
        train=(
            "on which line is {text}?",
            "which line says {text}?",
            "on which line do you see {text}?",
            "{text} is on which line?",
            "on which line of the image is {text} printed?",
            "on which line can {text} be read?",
            "tell me which line says {text}.",
            "what line is {text} written on?",
        ),
        heldout=(
            "which line of the image says {text}?",
            "on what line is {text}?",
            "on which line is {text} written?",
        ),
    ),
    "says": Phrasings(
        train=(
            "does the image say {text}?",
            "does it say {text}?",
            "is {text} printed in the image?",
            "is {text} written here?",
            "can you read {text} in the picture?",
            "do you see {text}?",
            "does the picture show {text}?",
            "is it true that the image says {text}?",
            "can {text} be read in the image?",
        ),
        heldout=(
            "does the picture say {text}?",
            "is {text} written in the image?",
            "can you read {text} here?",
            "do you see {text} in the picture?",
        ),
    ),
    "letters": Phrasings(
        train=(
            "how many letters does the word have?",
            "how many letters are in the word?",
            "what is the number of letters in the word?",
            "count the letters of the word.",
            "the word has how many letters?",
            "tell me how many letters the word has.",
            "how many letters do you see in the word?",
            "how long is the word, in letters?",
        ),
        heldout=(
            "count the letters in the word.",
            "what number of letters does the word have?",
            "in the image, how many letters does the word have?",
        ),
    ),
    "letter": Phrasings(
        train=(
            "what is the {nth} letter of the word?",
            "which letter is the {nth} one of the word?",
            "what is the {nth} letter?",
            "which is the {nth} letter in the word?",
            "read the {nth} letter.",
            "tell me the {nth} letter of the word.",
            "the {nth} letter of the word is what?",
            "what {nth} letter does the word have?",
        ),
        heldout=(
            "which letter of the word is the {nth} one?",
            "what is the {nth} letter in the word?",
            "read the {nth} letter of the word.",
        ),
    ),
}
