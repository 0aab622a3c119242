"""What the openai client raises, as labkit's errors: what happened, where, and what to do about it."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from labkit.backends.base import CLOSED
from labkit.errors import BackendUnavailable, BadRequest, ContextFull, IncompleteOutput, LabkitError

_TOO_LONG = re.compile(r"context|too long|maximum.*length", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d{2,9}(?![\w.]*\d)")


@contextmanager
def plain_errors(backend) -> Iterator[None]:
    """Errors of the client as BackendUnavailable, BadRequest, ContextFull or IncompleteOutput.

    backend: for its base_url, model, timeout_s, how_to_start and whether it was closed meanwhile.
    """
    try:
        with _translated(backend):
            yield
    except BackendUnavailable as error:
        if backend.closed:
            raise BackendUnavailable(CLOSED) from error
        raise


@contextmanager
def _translated(backend) -> Iterator[None]:
    import httpx
    import openai
    try:
        yield
    except openai.APITimeoutError as error:
        raise BackendUnavailable(f"{backend.base_url} said nothing for {backend.timeout_s:g} s. "
                                 "It may be busy or stuck: wait, or connect(…, timeout_s=…) with more.") from error
    except openai.APIConnectionError as error:
        raise BackendUnavailable(_not_reached(backend, error)) from error
    except openai.APIStatusError as error:
        raise _for_status(backend, error) from error
    except openai.APIError as error:  # among them what a server reports in the middle of a stream
        raise _refused(error.body) or BackendUnavailable(f"{backend.base_url} failed in the middle of an answer: "
                                                         f"{_short(error.message)}") from error
    except httpx.HTTPError as error:
        raise BackendUnavailable(f"{backend.base_url} broke off in the middle of an answer "
                                 f"({_short(error) or type(error).__name__}). {backend.how_to_start}") from error
    except LabkitError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # No JSON, or JSON of another shape: the client does not check what a server sends.
        raise BackendUnavailable(f"{backend.base_url} does not speak OpenAI's API: {_short(error)}. "
                                 "Is the address right? It usually ends in /v1.") from error


def _not_reached(backend, error) -> str:
    cause = error.__cause__ or error
    began = type(cause).__name__ in ("RemoteProtocolError", "ReadError")
    what = "broke off in the middle of an answer" if began else "cannot be reached"
    return f"{backend.base_url} {what} ({_short(cause)}). {backend.how_to_start}"


def _for_status(backend, error) -> LabkitError:
    status, said = error.status_code, _short(_message(error.body) or error.message)
    if status in (400, 413, 422):
        return _refused(error.body) or BadRequest(f"{backend.base_url} refuses the request: {said}")
    if status in (401, 403):
        return BackendUnavailable(f"{backend.base_url} refuses the key ({status}). Give the right one: "
                                  "connect(…, api_key=…), or set OPENAI_API_KEY.")
    if status == 404:
        return BackendUnavailable(f"{backend.base_url} does not know the model {getattr(backend, 'model', None)!r} "
                                  f"or this route (404): {said}")
    if status == 429:
        wait = error.response.headers.get("retry-after")
        return BackendUnavailable(f"{backend.base_url} is busy (429). Try again "
                                  f"{f'in {wait} s' if wait else 'later'}: {said}")
    return BackendUnavailable(f"{backend.base_url} failed ({status}): {said}. Look at the server's log.")


def _refused(body: Any) -> LabkitError | None:
    """ContextFull when a server says that the prompt is too long: each has words of its own.

    IncompleteOutput when it is labkit's own and says so.
    """
    body = body.get("error", body) if isinstance(body, Mapping) else {}
    given = body if isinstance(body, Mapping) else {}
    if given.get("code") == "incomplete_output":
        return IncompleteOutput(_message(given) or "")
    for prompt, context in (("n_prompt_tokens", "n_ctx"), ("prompt_tokens", "context_tokens")):
        if given.get(prompt) and given.get(context):
            return ContextFull(int(given[prompt]), int(given[context]))
    message = _message(body) or ""
    numbers = [int(n) for n in _NUMBER.findall(message)]
    if _TOO_LONG.search(message) and len(set(numbers)) > 1:
        return ContextFull(max(numbers), min(n for n in numbers if n != max(numbers)))
    return None


def _message(body: Any) -> str | None:
    body = body.get("error", body) if isinstance(body, Mapping) else body
    return str(body.get("message", body)) if isinstance(body, Mapping) else (str(body) if body else None)


def _short(text: Any) -> str:
    return " ".join(str(text).split())[:300]
