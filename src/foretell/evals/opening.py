"""A model by the one name that a user gives it."""

from __future__ import annotations

from foretell.evals.models import Model


def open_model(source: str, served_name: str | None = None, start: bool = False) -> Model:
    """A model at an address, or one that is run here.

    Args:
        source: an address such as ``http://localhost:8000/v1``, or a name that ``foretell generate`` takes.
        served_name: of the model at an address; the first that the server lists where left out.
        start: whether texts begin with the start tokens of a model that is run here.

    Raises:
        UserError: where there is no such model, it cannot be read, or the server does not answer.
    """
    if "://" in source:
        from foretell.evals.remote import RemoteModel

        return RemoteModel(source, served_name)
    from foretell.evals.local import LocalModel  # torch, which an address does not need

    return LocalModel.load(source, start=start)
