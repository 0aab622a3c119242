"""What the ollama client raises, as labkit's errors; and waiting when the server asks for it."""
from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.errors import BackendUnavailable, BadRequest, ContextFull, LabkitError

_LONGEST_WAIT_S = 30.0  # a server that asks for more is busy, and the caller is told so
_BUSY = (429, 503)
_LENGTHS = re.compile(r"prompt has (\d+) tokens, the context holds (\d+)")


def patient_transport(retries: int):
    """An httpx transport that asks a busy server again, after as many seconds as its Retry-After says."""
    import httpx

    class Patient(httpx.HTTPTransport):
        def handle_request(self, request):
            for attempt in range(retries + 1):
                response = super().handle_request(request)
                wait = _seconds(response.headers.get("retry-after"), default=0.5 * 2**attempt)
                if response.status_code not in _BUSY or attempt == retries or wait > _LONGEST_WAIT_S:
                    return response
                response.close()
                time.sleep(wait)

    return Patient()


def _seconds(text: str | None, default: float) -> float:
    try:
        return max(float(text), 0.0) if text else default
    except ValueError:  # a date: rare, and the server's clock is not ours
        return default


@contextmanager
def plain_errors(backend) -> Iterator[None]:
    """Errors of the client as BackendUnavailable, BadRequest or ContextFull. backend: an Ollama."""
    import httpx
    import ollama

    from labkit.backends.ollama_address import not_running
    where = f"Ollama at {backend.base_url}"
    try:
        yield
    except LabkitError:
        raise
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise BackendUnavailable(not_running(backend.base_url)) from error
    except httpx.TimeoutException as error:
        raise BackendUnavailable(f"{where} said nothing for {backend.timeout_s:g} s. It may be loading a large model: "
                                 "wait, or connect(…, timeout_s=…) with more.") from error
    except ollama.ResponseError as error:
        raise _for_status(backend, where, error.status_code, _short(error.error)) from error
    except (httpx.TransportError, httpx.StreamError) as error:
        _ = backend.client  # if it was closed meanwhile, that says so
        raise BackendUnavailable(f"{where} broke off in the middle of an answer ({_short(error)}). "
                                 "Ask again; if it stays so, look at its log: ollama serve") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # No JSON, or JSON of another shape: what answers there is something else.
        raise BackendUnavailable(f"{backend.base_url} does not speak Ollama's API: {_short(error)}. "
                                 "Is the address right?") from error


def _for_status(backend, where: str, status: int, said: str) -> LabkitError:
    if found := _LENGTHS.search(said):
        return ContextFull(*map(int, found.groups()))
    if status in (400, 413, 422):
        return BadRequest(f"{where} refuses the request: {said}")
    if status in (401, 403):
        return BackendUnavailable(f"{where} refuses the key ({status}). Give the right one: connect(…, api_key=…).")
    if status == 404:
        model = getattr(backend, "model", None)
        return BackendUnavailable(f"{where} does not know the model {model!r} or this route (404): {said}. "
                                  f"Get the model: ollama pull {model}")
    if status in _BUSY:
        return BackendUnavailable(f"{where} is busy ({status}). Try again later: {said}")
    if status < 0:  # a line of the stream said it
        return BackendUnavailable(f"{where} failed in the middle of an answer: {said}")
    return BackendUnavailable(f"{where} failed ({status}): {said}. Look at its log.")


def _short(text) -> str:
    return " ".join(str(text).split())[:300]
