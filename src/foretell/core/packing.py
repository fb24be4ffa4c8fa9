"""How the documents of a packed row are numbered: written by what packs rows, read by the attention.

A position's number is ``document * BRANCHES + branch``. Branch 0 is a document's trunk; the others follow it, and each
of them sees the trunk and itself as if the other branches were not there: several questions about one image share the
image's tokens. A number below zero is padding.
"""

from __future__ import annotations

BRANCHES = 2**16  # of a document at most, its trunk included
