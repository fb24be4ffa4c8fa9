"""Settings of the visual documents of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from foretell.core.config import Settings
from foretell.data.visual.augment import AugmentConfig
from foretell.data.visual.generator.config import GeneratorConfig

GENERATED = 10_000  # documents of a generator where no number is given


class VisualSourceConfig(Settings):
    """Where questions about images come from: exactly one of ``generator`` and ``path``."""

    generator: GeneratorConfig | None = None
    """Drawn by Foretell, with answers that are known."""
    path: str | None = None
    """Rows of JSONL, a webdataset tar, a folder of images with texts, or easy-VQA's zip (docs/images.md)."""
    documents: int | None = Field(default=None, ge=1)
    """How many training documents to take; all where it is left out, and 10,000 of the generator."""
    heldout: int = Field(default=200, ge=1)
    """How many documents of the generator to hold out; their phrasings, fonts and words are others than in training."""
    heldout_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of a file's images to hold out."""
    on_bad: Literal["refuse", "skip"] = "refuse"
    """What to do with a document that cannot be read, for its image most often: refuse it by name, or count it."""
    augment: AugmentConfig | None = None
    """Small changes to a file's training images that leave the answers true; none where it is left out."""
    look: Literal[False, True, "only"] = False
    """Whether an encoder looks at its images before the run (visual.look), best with few things in each; `only`: the
    run itself takes none of them but in its lead (visual.lead)."""
    name: str | None = None
    """What the report calls the source."""

    @model_validator(mode="after")
    def _one_origin(self) -> VisualSourceConfig:
        if (self.generator is None) == (self.path is None):
            raise ValueError("a visual source needs exactly one of generator and path")
        if self.generator and self.augment:
            raise ValueError("augment is for the images of a path; the generator varies what it draws by itself")
        return self

    @property
    def label(self) -> str:
        """The name by which records call the source."""
        return self.name or ("generator" if self.generator else str(self.path))


class VisualConfig(Settings):
    """Questions about images that are learned beside the text."""

    sources: tuple[VisualSourceConfig, ...] = ()
    """Where they come from; no images are learned from where there are none."""
    share: float = Field(default=0.1, gt=0, le=0.95)
    """Of a step's positions and of its loss; the rest is text."""
    room: int = Field(default=256, ge=16)
    """Positions of a row of questions; documents are packed into it whole."""
    batch_factor: float = Field(default=1.0, gt=0, le=8)
    """Times the batch that the law for text asks for; smaller batches take more steps, which a model that has yet to
    learn to look needs (docs/vision.md)."""
    look: float = Field(default=0.0, ge=0, le=50)
    """Steps that an encoder takes alone before the run, at the sources marked look, over the run's own steps."""
    lead: float = Field(default=0.0, ge=0, lt=1)
    """Share of a run's steps, its first ones, that ask about the sources marked look alone."""
    question_only: float = Field(default=0.1, ge=0, le=1)
    """Share of the target's steps for a second model that sees no image, for comparison; 0 leaves it out."""

    @property
    def documents(self) -> int:
        """Training documents, of the sources that say how many."""
        return sum(
            (source.documents or (GENERATED if source.generator else 0))
            * (source.augment.variants if source.augment else 1)
            for source in self.sources
        )

    @property
    def looked_at(self) -> tuple[str, ...]:
        """Labels of the sources that an encoder looks at first."""
        return tuple(source.label for source in self.sources if source.look)

    @property
    def only_looked_at(self) -> tuple[str, ...]:
        """Labels of those among them that the run takes nothing of after its lead."""
        return tuple(source.label for source in self.sources if source.look == "only")

    @model_validator(mode="after")
    def _something_to_look_at(self) -> VisualConfig:
        for name in ("look", "lead"):
            if getattr(self, name) and self.sources and not self.looked_at:
                value = getattr(self, name)
                raise ValueError(f"{name} is {value:g} and no source has look: true; mark one, or set {name} to 0")
        if self.sources and len(self.only_looked_at) == len(self.sources):
            raise ValueError("every source has look: only; at least one for the run itself is expected")
        if not self.look + self.lead and self.only_looked_at:
            label = self.only_looked_at[0]
            raise ValueError(f"look and lead are 0 and '{label}' has look: only; nothing would take its images")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> VisualConfig:
        labels = [source.label for source in self.sources]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"two visual sources are called '{twice}'; give each a name of its own")
        return self
