"""A deployment on a real Ray cluster: a head and two nodes, three addresses of this machine's loopback network."""
from __future__ import annotations

import os
import socket
import sys
import threading
import time
from importlib.util import find_spec

import httpx
import openai
import pytest

from labkit.errors import BackendUnavailable, BadRequest, LabkitError
from labkit.serving import deploy, ray_deploy
from labkit.serving.deployment import Deployment

FILE = """name: shop
kind: distributed
port: {port}
replicas: 2
key_env: SHOP_KEY
limits:
  at_once: 4
nodes:
- name: edge-1
  capacity: 2
- name: edge-2
  capacity: 2
"""
PARIS = [{"role": "user", "content": "What is the capital of France?"}]


def test_what_each_node_runs():
    wanted = Deployment(name="shop", kind="distributed", nodes=[{"name": "edge-1"}, {"name": "edge-2", "capacity": 3}])
    first, second = ray_deploy.commands(wanted)
    assert first.startswith("edge-1: ray start --head --port=6379 ")
    assert "--address=HEAD:6379" in second and """'{"labkit": 3, "labkit-edge-2": 1}'""" in second


# Ray resolves 127.0.0.1 to an address of the network; 127.0.0.2 it takes as it is, and only Linux has it.
here = pytest.mark.skipif(not find_spec("ray") or sys.platform != "linux",
                          reason="needs Ray (the extra `ray`) and Linux's loopback network")


@here
def test_what_ray_is_given_when_the_number_follows_the_load():
    from ray import serve
    wanted = Deployment(name="shop", kind="distributed", nodes=[{"name": "edge-1", "capacity": 3}], memory_mb=900,
                        limits={"at_once": 4, "waiting": 9}, autoscale={"least": 1, "most": 3, "target": 2})
    made = ray_deploy.application(serve, wanted)._bound_deployment
    config = made._deployment_config.autoscaling_config
    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (1, 3, 2)
    assert made.ray_actor_options == {"num_cpus": 0, "resources": {"labkit": 1}, "memory": 900_000_000}
    assert (made.max_ongoing_requests, made.max_queued_requests) == (4, 9)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without room for replicas, and two nodes that hold two each."""
    # jsonschema's optional check of addresses builds a grammar when it is imported: 3 of the 4 s that each of Ray's
    # ten processes takes to start. Without it, it is as if it were not installed.
    without = tmp_path_factory.mktemp("without")
    (without / "rfc3987_syntax.py").write_text("raise ImportError\n", encoding="utf-8")
    set_ = {"RAY_USAGE_STATS_ENABLED": "0", "SHOP_KEY": "k", "PYTHONPATH": str(without)}
    before = {name: os.environ.get(name) for name in set_}
    os.environ.update(set_)
    import ray
    from ray.cluster_utils import Cluster
    small = {"num_cpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False,
             "include_log_monitor": False}  # no more processes than the test needs
    made = Cluster(initialize_head=True, head_node_args={"node_ip_address": "127.0.0.2", "no_monitor": True, **small})
    nodes = [made.add_node(node_ip_address=f"127.0.0.{2 + i}", resources={"labkit": 2, f"labkit-edge-{i}": 1}, **small)
             for i in (1, 2)]
    ray.init(address=made.address, _node_ip_address="127.0.0.2", log_to_driver=False, namespace="labkit")
    yield made, nodes
    from ray import serve
    serve.shutdown()
    ray.shutdown()
    made.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def waited(holds, seconds: float = 60.0) -> bool:
    """Whether `holds()` comes true in time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.2)
    return holds()


class Load:
    """Clients that ask until told to stop; seconds and outcome of each request."""

    def __init__(self, ask, clients: int = 2):
        self._ask, self._stop, self.done = ask, threading.Event(), []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                outcome = self._ask()
            except openai.OpenAIError as error:
                outcome = repr(error)
            self.done.append((began, time.monotonic(), outcome))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


@here
def test_a_node_that_dies_under_load_costs_no_answer(cluster, port, tmp_path, monkeypatch, record_property):
    """No request is lost to OpenAI's client, which asks again; how often it had to is counted and told."""
    made, nodes = cluster
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    file = tmp_path / "shop.yaml"
    file.write_text(FILE.format(port=port), encoding="utf-8")
    told = deploy.up(file)
    assert told.ok and told.replicas == {"RUNNING": 2} and [node.capacity for node in told.nodes] == [2, 2]
    assert "shop: running" in str(deploy.status("shop")) and f":{port}/v1" in str(told)
    with pytest.raises(LabkitError, match="shop is up already"):
        deploy.up(file)
    url = f"http://127.0.0.1:{port}"
    assert httpx.post(f"{url}/v1/chat/completions", json={"messages": PARIS}).status_code == 401
    refused = []
    http = httpx.Client(event_hooks={"response": [lambda r: refused.append(r.status_code) if r.is_error else None]})
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", http_client=http) as client:
        def ask() -> str:
            answer = client.chat.completions.create(model="", messages=PARIS, max_tokens=6, timeout=60)
            return answer.choices[0].message.content
        stream = client.chat.completions.create(model="", messages=PARIS, max_tokens=6, stream=True)
        assert "Paris" in "".join(piece.choices[0].delta.content or "" for piece in stream)
        load = Load(ask)
        waited(lambda: len(load.done) >= 4)
        killed = time.monotonic()
        made.remove_node(nodes[0], allow_graceful=False)
        assert waited(lambda: sum(began > killed for began, *_ in load.done) >= 4)  # requests go on
        load.stop()
    lost = [outcome for *_, outcome in load.done if "Paris" not in outcome]
    slowest = max(ended - began for began, ended, _ in load.done if ended > killed)
    record_property("figures", f"{len(load.done)} requests, {len(lost)} lost, {len(refused)} asked again, "
                               f"slowest {slowest:.1f} s")
    assert not lost
    seen = []

    def settled() -> bool:  # it takes Ray a while to see that the node is gone, and to start another replica
        seen[:] = [deploy.status("shop")]
        return seen[0].replicas == {"RUNNING": 2} and [node.state for node in seen[0].nodes] == ["gone", "here"]
    assert waited(settled), seen
    assert not seen[0].ok and deploy.down("shop") == 2 and deploy.names() == []


@here
def test_what_cannot_be_up_on_a_cluster(cluster, port, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    file, text = tmp_path / "shop.yaml", FILE.format(port=port)
    file.write_text(text.replace("edge-1", "edge-9"), encoding="utf-8")
    with pytest.raises(LabkitError, match="(?s)not in the cluster: edge-9.*ray start --address=HEAD"):
        deploy.up(file)
    file.write_text(text.replace("replicas: 2", "replicas: 9").replace("- name: edge-1\n  capacity: 2\n", ""),
                    encoding="utf-8")
    with pytest.raises(LabkitError, match="wants 9 replicas, and the nodes hold"):
        deploy.up(file)
    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(BadRequest, match="SHOP_KEY is not set"):
        deploy.up(file)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendUnavailable, match=r"pip install -e"):
        ray_deploy.status(Deployment(name="shop", kind="distributed", nodes=[{"name": "edge-1"}]))
