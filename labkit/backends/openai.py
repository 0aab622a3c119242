"""Any server with OpenAI's chat API, at an address of your choice."""
from __future__ import annotations

import os

from labkit.backends.openai_compatible import OpenAICompatible
from labkit.errors import BackendUnavailable


class OpenAI(OpenAICompatible):
    """A server of your choice. Without arguments: OPENAI_BASE_URL and OPENAI_API_KEY, as the client has them.

    timeout_s: longest wait (s) for the connection's next bytes; retries: after 408, 409, 429 and 5xx.
    """

    name = "openai"

    def __init__(self, model: str | None = None, *, base_url: str | None = None, api_key: str | None = None,
                 timeout_s: float = 120.0, retries: int = 2):
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        api_key = api_key or os.environ.get("OPENAI_API_KEY")
        if not (base_url or api_key):
            raise BackendUnavailable(f"openai: {self.why_not()}")
        super().__init__(model, base_url=base_url or "https://api.openai.com/v1", api_key=api_key,
                         timeout_s=timeout_s, retries=retries)

    @classmethod
    def why_not(cls) -> str | None:
        given = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY")
        return cls.missing() or (None if given else 'no address. Give one: labkit.connect("openai", '
                                 'base_url="http://127.0.0.1:8484/v1"), or set OPENAI_BASE_URL')
