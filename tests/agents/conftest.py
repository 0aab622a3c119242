"""Chat clients of Agent Framework: over the real model, and over a script for what a model cannot be made to say."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.agents.agent_framework import LabkitChatClient


@pytest.fixture(scope="module")
def client(slm) -> LabkitChatClient:
    return LabkitChatClient(slm)


@pytest.fixture
def scripted(trusted_script):
    """(client, script): for what a real model cannot be made to say."""
    return LabkitChatClient(lk.Chat(trusted_script)), trusted_script
