"""A deployment as data: what shall run where, in a YAML file. Holds no secret: a key is named by its variable."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from labkit import yaml_file
from labkit.serving import tickets
from labkit.serving.guard import is_loopback

VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Limits(_Part):
    """What a replica takes on, as `labkit serve` has it. deadline: seconds. rate: of one client, like 60/minute."""

    at_once: int = Field(16, ge=1)
    waiting: int = Field(128, ge=0)
    deadline: float = Field(600, ge=0.1)
    rate: str | None = None

    @model_validator(mode="after")
    def _known(self):
        self.made()
        return self

    def made(self) -> tickets.Limits:
        return tickets.Limits(self.at_once, self.waiting, self.deadline, self.rate)


class Version(_Part):
    """A model and how it is served. memory_mb: a replica that takes more is not kept; None for no limit."""

    backend: str = "llama.cpp"
    model: str | None = None
    limits: Limits = Field(default_factory=Limits)
    replicas: int = Field(1, ge=1, le=64)
    memory_mb: float | None = Field(None, gt=0)


class Canary(Version):
    """A new version, tried on `share` % of the requests until it has answered `at_least` of them.

    error_rate: how much above the old version's share of failed requests its own may be (0 to 1). p95_ratio: how many
    times the old version's 95th percentile of the time to a whole answer its own may be. Beyond either it is rolled
    back, else it gets every request.
    """

    share: float = Field(10, gt=0, le=90)
    at_least: int = Field(50, ge=5)
    error_rate: float = Field(0.02, ge=0, le=1)
    p95_ratio: float = Field(1.5, ge=1)


class Fallback(_Part):
    """A service of OpenAI's kind that is asked when no replica answers; the first that answers is taken.

    model: what it is asked for; None for what the client asked for. key_env: the variable with its key.
    """

    url: str = Field(pattern=r"^https?://[^\s/]+")
    model: str | None = None
    key_env: str | None = Field(None, pattern=VARIABLE)


class Node(_Part):
    """A machine. capacity: how many replicas it can hold."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,60}$")
    capacity: int = Field(1, ge=1, le=64)


class Autoscale(_Part):
    """Between how many replicas, and how many requests each shall have at once."""

    least: int = Field(1, ge=1)
    most: int = Field(2, ge=1)
    target: float = Field(4, gt=0)


class Deployment(Version):
    """kind: "single" runs processes on this machine, "distributed" replicas on the nodes of a Ray cluster.

    port: what clients use. With several replicas, a canary or a fallback a gateway listens there, and the replicas at
    the ports that follow. key_env: the variable that holds the key asked of every client. jobs, history: kept in files
    of the deployment. agent, alerts: files, as `labkit serve` takes them.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    kind: Literal["single", "distributed"] = "single"
    host: str = "127.0.0.1"
    port: int = Field(8484, ge=1, le=65_000)
    key_env: str | None = Field(None, pattern=VARIABLE)
    agent: str | None = None
    alerts: str | None = None
    history: bool = False
    jobs: bool = False
    canary: Canary | None = None
    fallback: list[Fallback] = Field(default_factory=list)
    nodes: list[Node] = Field(default_factory=list)
    autoscale: Autoscale | None = None

    @model_validator(mode="after")
    def _makes_sense(self):
        if self.kind == "distributed" and not self.nodes:
            raise ValueError("a distributed deployment has nodes: give each a name and a capacity")
        if self.kind == "single" and (self.nodes or self.autoscale):
            raise ValueError("nodes and autoscale are for kind: distributed")
        if self.kind == "distributed" and (self.canary or self.fallback or self.jobs):
            raise ValueError("canary, fallback and jobs are for kind: single")
        if self.agent and (self.model or self.backend != "llama.cpp"):
            raise ValueError("the agent's recipe says which model it has: leave out backend and model")
        if self.jobs and self.gateway:
            raise ValueError("jobs are kept by one replica: with jobs there can be no other, no canary, no fallback")
        if not (self.key_env or is_loopback(self.host)):
            raise ValueError(f"{self.host} can be reached from other machines: name a key's variable in key_env")
        return self

    @property
    def gateway(self) -> bool:
        """Whether clients talk to a gateway, not to the one replica."""
        return self.replicas > 1 or self.canary is not None or bool(self.fallback)


def read(path: str | Path) -> Deployment:
    """The file's deployment, with the paths of models made whole. Raises BadRequest with line and field."""
    found = yaml_file.read(path, Deployment)
    folder = Path(path).resolve().parent
    for part, field in ((found, "model"), (found.canary, "model"), (found, "agent"), (found, "alerts")):
        if (name := getattr(part, field, None)) and (folder / name).exists():
            setattr(part, field, str(folder / name))
    return found
