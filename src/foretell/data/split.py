"""Which documents are held out: whole projects where there are enough of them, else whole documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from foretell.data.documents import keyed_hash

MINIMUM_PROJECTS = 20
LARGEST_SHARE = 0.5
ENOUGH_SHARE = 0.9
USABLE_SHARE = 0.5


@dataclass(frozen=True)
class HeldOut:
    """Indices of the held-out documents in the order in which they were chosen, and what was chosen by."""

    documents: tuple[int, ...]
    split_by: str
    """``project`` or ``document``."""


def choose_heldout(
    projects: Sequence[str], identities: Sequence[str], sizes: Sequence[int], target: int, seed: int
) -> HeldOut:
    """Choose about ``target`` bytes, never more unless one document has more.

    Projects are taken in the order of a keyed hash of their names, passing over those of more than half of the target,
    so that several are in it. Where there are fewer than 20 projects (a row or file that stands for itself is not one:
    the held-out text would be rows alone), or where whole projects do not make up half of the target, documents are
    taken in the same way.

    Args:
        projects: project of each document.
        identities: unique name of each document.
        sizes: bytes of each document.
        target: bytes to hold out.
        seed: orders projects and documents.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, project in enumerate(projects):
        members[project].append(index)
    proper = {project for project, identity in zip(projects, identities, strict=True) if project != identity}
    if len(proper) >= MINIMUM_PROJECTS:
        weights = {project: sum(sizes[index] for index in indices) for project, indices in members.items()}
        chosen = _fill(weights, target, seed)
        if len(chosen) > 1 and sum(weights[project] for project in chosen) >= USABLE_SHARE * target:
            return HeldOut(tuple(index for project in chosen for index in members[project]), "project")
    by_identity = {identity: index for index, identity in enumerate(identities)}
    chosen = _fill({identity: sizes[index] for identity, index in by_identity.items()}, target, seed)
    if not chosen and len(projects) > 1:
        chosen = [min(identities, key=lambda identity: (sizes[by_identity[identity]], identity))]
    return HeldOut(tuple(by_identity[identity] for identity in chosen), "document")


def _fill(sizes: dict[str, int], target: int, seed: int) -> list[str]:
    """Names in keyed order, none larger than half of ``target``, until nine tenths of it are reached."""
    chosen: list[str] = []
    total = 0
    for name in sorted(sizes, key=lambda name: (keyed_hash(seed, "heldout", name), name)):
        if total >= ENOUGH_SHARE * target:
            break
        if sizes[name] <= LARGEST_SHARE * target and total + sizes[name] <= target:
            chosen.append(name)
            total += sizes[name]
    return chosen
