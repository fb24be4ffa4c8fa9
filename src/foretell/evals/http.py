"""Questions to a server with the OpenAI API: JSON over HTTP, tried again where it is busy."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any

from foretell.core.errors import UserError

TRIES = 6
FIRST_PAUSE = 0.5  # seconds; doubled each time
LONGEST_PAUSE = 30.0
TIMEOUT = 600.0  # seconds of one answer
BUSY = (408, 409, 429, 500, 502, 503, 504)


class ServerRefusal(UserError):
    """The server has answered that it does not do this; ``status`` is HTTP's, ``said`` its own words."""

    def __init__(self, url: str, status: int, said: str) -> None:
        super().__init__(f"{url} refuses ({status}): {said}")
        self.status, self.said = status, said


class Client:
    """One server.

    Args:
        url: of its API, as ``http://localhost:8000/v1``.
        key: sent as a bearer token; ``$OPENAI_API_KEY`` where left out.

    Raises:
        UserError: where the address is none of HTTP's.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        try:
            address = urllib.parse.urlsplit(url)
        except ValueError:  # half of a bracketed address
            address = urllib.parse.urlsplit("")
        if address.scheme not in ("http", "https") or not address.netloc:
            raise UserError(f"The model's address is {url!r}; one such as http://localhost:8000/v1 is expected.")
        self.url = url.rstrip("/")
        self._key = os.environ.get("OPENAI_API_KEY") if key is None else key

    def get(self, path: str) -> Any:
        """The JSON at a path below the address. Errors are those of :meth:`post`."""
        return self._ask(path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that answers a body.

        Raises:
            ServerRefusal: where the server answers that it will not.
            UserError: where there is no answer, or none in JSON.
        """
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self.url}/{path}"
        pause = FIRST_PAUSE
        for attempt in range(1, TRIES + 1):
            request = urllib.request.Request(url, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                said = _said(error)
                if error.code not in BUSY or attempt == TRIES:
                    raise ServerRefusal(url, error.code, said) from error
                pause = max(pause, _asked_pause(error))
            except (urllib.error.URLError, OSError, HTTPException) as error:
                if attempt == TRIES or isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                    reason = getattr(error, "reason", None) or error
                    raise UserError(f"{url} does not answer ({reason}).") from error
            except ValueError as error:
                raise UserError(f"{url} answers with something that is no JSON.") from error
            time.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2
        raise AssertionError("unreachable")


def _said(error: urllib.error.HTTPError) -> str:
    """The message of an error in OpenAI's shape, else the first words of whatever came."""
    try:
        text = error.read(10_000).decode(errors="replace")
    except (OSError, HTTPException):
        return str(error.reason)
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200] or str(error.reason)


def _asked_pause(error: urllib.error.HTTPError) -> float:
    try:
        return float(error.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
