"""Deployments on several machines: replicas on the nodes of a Ray cluster, by Ray Serve.

Where the replicas run, how requests are shared among them, their health, their replacement and their number under load
are Ray's; labkit gives it the service. A request that a node was at when it died ends as 500: Ray does not ask again,
and OpenAI's client does, twice by default. Clients ask the head node, which Ray cannot replace.
"""
from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from labkit.backends.launch import OnLine
from labkit.errors import BackendUnavailable, BadRequest, LabkitError
from labkit.serving.deployment import Deployment, Node
from labkit.serving.processes import Address
from labkit.table import Shown, Table

SLOT = "labkit"    # the resource that a node has one of for each replica that it can hold
PORT = 6379        # of the head node
HEALTH_S = 1.0     # between two looks at a replica
TRIES = 2          # of a replica to start
UPSCALE_S = 3.0    # that there must be more to do before another replica is started


def up(wanted: Deployment, key: str | None, say: OnLine) -> None:
    """Run the deployment on the cluster that this machine is the head of, and wait until it answers.

    key: not sent: each node has it in the variable that key_env names. Raises LabkitError when Ray or nodes are
    missing, the deployment is there already, or it does not start; then nothing of it runs.
    """
    serve = _serve(wanted)
    _check_nodes(wanted)
    # First of all: serve.status() starts Serve itself, with its own address, where it does not run.
    serve.start(proxy_location="HeadOnly", http_options={"host": wanted.host, "port": wanted.port,
                                                         "request_timeout_s": wanted.limits.deadline + 5})
    if wanted.name in serve.status().applications:
        raise LabkitError(f"{wanted.name} is up already. End it first: labkit deploy down {wanted.name}")
    say(f"starting {wanted.name} on {len(wanted.nodes)} nodes")
    try:
        serve.run(application(serve, wanted), name=wanted.name, route_prefix="/")
        _check_address(wanted)
        say(f"{wanted.name} is ready")
    except BaseException as error:  # Ctrl-C too
        serve.delete(wanted.name)
        if isinstance(error, Exception) and not isinstance(error, LabkitError):
            raise LabkitError(f"{wanted.name} did not start on the cluster: {error}") from error
        raise


def down(wanted: Deployment) -> int:
    """End it; how many replicas there were. The cluster stays."""
    serve = _serve(wanted)
    ended = sum(_states(serve, wanted).values())
    serve.delete(wanted.name)
    if not serve.status().applications:
        serve.shutdown()
    return ended


def commands(wanted: Deployment) -> list[str]:
    """What to run on each node, the head first, so that they become a cluster."""
    head = f"--head --port={PORT} --include-dashboard=false"
    return [f"{node.name}: ray start {f'--address=HEAD:{PORT}' if i else head} --disable-usage-stats "
            f"--resources='{json.dumps(resources(node))}'" for i, node in enumerate(wanted.nodes)]


def resources(node: Node) -> dict[str, int]:
    """What a node offers: places for replicas, and its name."""
    return {SLOT: node.capacity, f"{SLOT}-{node.name}": 1}


def application(serve: Any, wanted: Deployment):
    """The Ray Serve application: the ASGI service of `labkit serve`, made anew in each replica."""
    told = wanted.model_dump(mode="json")

    def build():
        from labkit.serving.ray_deploy import service
        return service(told)

    limits, options = wanted.limits, {"num_cpus": 0, "resources": {SLOT: 1}}
    if wanted.memory_mb:
        options["memory"] = int(wanted.memory_mb * 1e6)
    number = {"num_replicas": wanted.replicas}
    if auto := wanted.autoscale:
        number = {"autoscaling_config": {"min_replicas": auto.least, "max_replicas": auto.most,
                                         "target_ongoing_requests": auto.target, "upscale_delay_s": UPSCALE_S}}
    return serve.deployment(
        serve.ingress(build)(), name=wanted.name, ray_actor_options=options, max_ongoing_requests=limits.at_once,
        max_queued_requests=limits.waiting or 1, health_check_period_s=HEALTH_S,
        max_constructor_retry_count=TRIES, **number).bind()


def service(told: dict[str, Any]):
    """The ASGI application of one replica, on the node where it runs."""
    import sys

    from labkit.serving.app import create_app, loaded
    wanted = Deployment.model_validate(told)
    if wanted.key_env and not os.environ.get(wanted.key_env):
        raise BadRequest(f"key_env: {wanted.key_env} is not set on this node. Set it before `ray start`.")
    sys.setswitchinterval(0.001)  # as `labkit serve` does
    chat, agent = loaded(wanted.backend, wanted.model, wanted.agent)
    return create_app(chat, os.environ.get(wanted.key_env or "") or None, wanted.limits.made(), agent=agent)


# -- the cluster ---------------------------------------------------------------------------


def _serve(wanted: Deployment):
    """Ray Serve's module, connected to the cluster. Raises BackendUnavailable with what to run."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray import serve
    except ImportError:
        raise BackendUnavailable('Several machines need Ray. In the folder of the course, run: python -m pip install '
                                 '-e ".[ray]"') from None
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False, namespace="labkit")
        except ConnectionError:
            raise BackendUnavailable("This machine is the head of no Ray cluster. Run on each node:\n"
                                     + "\n".join(commands(wanted))) from None
    return serve


def _there() -> list[dict[str, Any]]:
    import ray
    return [node for node in ray.nodes() if node["Alive"]]


def _check_nodes(wanted: Deployment) -> None:
    """Raise LabkitError for a node that is not there, or too little room."""
    here = {name for node in _there() for name in node["Resources"]}
    missing = [node.name for node in wanted.nodes if f"{SLOT}-{node.name}" not in here]
    if missing:
        raise LabkitError(f"Nodes that are not in the cluster: {', '.join(missing)}. Run on each:\n"
                          + "\n".join(commands(wanted)))
    room = sum(node["Resources"].get(SLOT, 0) for node in _there())
    need = wanted.autoscale.most if wanted.autoscale else wanted.replicas
    if need > room:
        raise LabkitError(f"{wanted.name} wants {need} replicas, and the nodes hold {room:.0f}. Take fewer, or give "
                          "nodes more capacity.")


def _check_address(wanted: Deployment) -> None:
    """Raise LabkitError where Serve listens elsewhere: a cluster has one address, that of its first deployment."""
    import httpx
    url = f"{Address(wanted.host, wanted.port).url}/health"
    try:
        httpx.get(url, timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise LabkitError(f"Ray Serve does not answer at {url} ({error}). A cluster has one address: that of the "
                          "deployment that was first. End that one, or take its host and port.") from error


def _states(serve: Any, wanted: Deployment) -> dict[str, int]:
    """State -> how many replicas are in it."""
    found = serve.status().applications.get(wanted.name)
    return dict(found.deployments[wanted.name].replica_states) if found and found.deployments else {}


# -- status --------------------------------------------------------------------------------


@dataclass(frozen=True)
class NodeState:
    """capacity: places for replicas."""

    name: str
    address: str
    state: str
    capacity: int


@dataclass(frozen=True, repr=False)
class ClusterStatus(Shown):
    """A distributed deployment as it is now. replicas: state -> how many."""

    name: str
    url: str
    status: str
    nodes: tuple[NodeState, ...]
    replicas: dict[str, int]

    @property
    def ok(self) -> bool:
        return self.status == "RUNNING" and all(node.state == "here" for node in self.nodes)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def table(self) -> Table:
        rows = tuple((node.name, node.address, node.state, str(node.capacity)) for node in self.nodes)
        told = ", ".join(f"{n} {state.lower()}" for state, n in self.replicas.items()) or "none"
        return Table(("node", "address", "state", "capacity"), rows, title=f"{self.name}: {self.status.lower()}",
                     note=f"Replicas: {told}. Clients use {self.url}/v1")


def status(wanted: Deployment) -> ClusterStatus:
    """How a distributed deployment is."""
    serve, there = _serve(wanted), _there()
    states = []
    for node in wanted.nodes:
        found = next((n for n in there if f"{SLOT}-{node.name}" in n["Resources"]), None)
        states.append(NodeState(node.name, found["NodeManagerAddress"] if found else "-",
                                "here" if found else "gone", node.capacity))
    known = serve.status().applications.get(wanted.name)
    return ClusterStatus(wanted.name, Address(wanted.host, wanted.port).url, known.status.value if known else "DOWN",
                         tuple(states), {str(getattr(k, "value", k)): n for k, n in _states(serve, wanted).items()})
