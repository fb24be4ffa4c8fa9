"""Errors as the OpenAI API states them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foretell.core.errors import UserError

KINDS = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class APIError(Exception):
    """A request that is not answered, with the status that says so.

    Args:
        status: of HTTP.
        message: one sentence for whoever sent it.
        param: the field of the body it is about.
        code: a word for programs.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def bad_request(message: str, param: str | None = None, code: str | None = None) -> APIError:
    """Something in the request that its sender must change."""
    return APIError(400, message, param=param, code=code)


def server_failed() -> APIError:
    """An error of ours, of which the client is told no more than that."""
    return APIError(500, "The server failed; this has been logged.", code="internal_error")


def refused(error: UserError, fields: Iterable[str], otherwise: str | None) -> APIError:
    """What an inner part refused: its sentences begin with the field where they are about one."""
    message = str(error)
    first = message.partition(" ")[0]
    return bad_request(message, first if first in set(fields) else otherwise)
