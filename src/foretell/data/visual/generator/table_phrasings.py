"""Wordings of questions about tables; every word of a held-out one is in a training one."""

from __future__ import annotations

from foretell.data.visual.generator.family import Phrasings

PHRASINGS: dict[str, Phrasings] = {
    "cell": Phrasings(
        train=(
            "what is in row {row} and column {column}?",
            "which number is in column {column} of row {row}?",
            "what is the value of {column} for {row}?",
            "read the number in row {row}, column {column}.",
            "what number does {row} have in column {column}?",
            "in the table, what is the number of {row} in column {column}?",
            "row {row}, column {column}: which number is it?",
            "tell me the value in column {column} and row {row}.",
            "look at row {row}: what is the value in column {column}?",
        ),
        heldout=(
            "which number is in row {row} and column {column}?",
            "what is the value of row {row} in column {column}?",
            "read the value in column {column} of row {row}.",
            "in the table, which number does {row} have for {column}?",
        ),
    ),
    "row": Phrasings(
        train=(
            "which row has the number {number}?",
            "in which row is {number}?",
            "what is the name of the row of {number}?",
            "{number} is in which row?",
            "name the row in which {number} is.",
            "in the table, which row has the value {number}?",
            "tell me which row {number} is in.",
            "which row do you find {number} in?",
        ),
        heldout=(
            "in which row do you find {number}?",
            "in the table, in which row is {number}?",
            "tell me the name of the row of the number {number}.",
        ),
    ),
    "column": Phrasings(
        train=(
            "which column has the number {number}?",
            "in which column is {number}?",
            "what is the name of the column of {number}?",
            "{number} is in which column?",
            "name the column in which {number} is.",
            "in the table, which column has the value {number}?",
            "tell me which column {number} is in.",
            "which column do you find {number} in?",
        ),
        heldout=(
            "in which column do you find {number}?",
            "in the table, in which column is {number}?",
            "tell me the name of the column of the number {number}.",
        ),
    ),
    "largest": Phrasings(
        train=(
            "which row has the largest number in column {column}?",
            "in column {column}, which row has the highest value?",
            "which row is the largest in column {column}?",
            "the largest value of column {column} is in which row?",
            "name the row of the largest number in column {column}.",
            "what is the row of the highest number in column {column}?",
            "in the table, which row has the largest value of {column}?",
            "look at column {column}: which row has the highest number?",
        ),
        heldout=(
            "which row has the highest value in column {column}?",
            "in the table, which row is the largest in column {column}?",
            "the highest number of column {column} is in which row?",
        ),
    ),
}
