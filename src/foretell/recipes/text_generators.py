"""Sources of a corpus whose documents are made by tasks, which the data layer knows nothing of."""

from __future__ import annotations

from foretell.data.sources import Generators
from foretell.tasks.code.micro import micro_documents

GENERATORS: Generators = {"micro-code": micro_documents}
