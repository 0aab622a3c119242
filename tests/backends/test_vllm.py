"""vLLM's templates against its own parser, and what only its connector does, on the real server."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.backends import managed, vllm_templates
from labkit.backends.base import Request
from labkit.backends.vllm import Vllm

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def model():
    if reason := Vllm.why_not():
        pytest.skip(f"vllm: {reason}")
    return lk.connect("vllm")


@pytest.fixture(scope="module")
def parser():
    """vllm_templates.validate_all, once for all commands of this file: each call takes ten seconds."""
    from labkit.models.environments import environment
    if reason := environment("vllm").why_not():
        pytest.skip(f"vllm: {reason}")
    every = [vllm_templates.arguments("some/model", name, **options) for name in vllm_templates.TEMPLATES
             for options in ({}, {"gpus": 2, "quantisation": "fp8"}, {"quantisation": None},
                             {"quantisation": "gptq", "speculative": {"model": "d", "num_speculative_tokens": 3}})]
    old = [["m", "--disable-log-requests"], ["m", "--speculative-model", "d"],
           ["m", "--guided-decoding-backend", "outlines"], ["m", "--max-model-len", "many"],
           ["m", "--enable-auto-tool-choice"]]
    answers = vllm_templates.validate_all(every + old)
    return answers[:len(every)], dict(zip(map(tuple, old), answers[len(every):], strict=True))


def test_every_template_is_taken_by_the_installed_parser(parser):
    taken, _ = parser
    assert taken == [None] * 4 * len(vllm_templates.TEMPLATES)


def test_what_is_gone_is_refused_with_the_parsers_words(parser):
    _, refused = parser
    assert "unrecognized arguments: --disable-log-requests" in refused["m", "--disable-log-requests"]
    assert "--max-model-len" in refused["m", "--max-model-len", "many"]
    assert "requires --tool-call-parser" in refused["m", "--enable-auto-tool-choice"]
    assert all(refused.values())


def test_a_command_changes_what_it_is_told():
    given = vllm_templates.arguments("m", "enterprise", gpus=2, quantisation=None, port=9001)
    assert given[given.index("--tensor-parallel-size") + 1] == "2" and "--quantization" not in given
    assert given[given.index("--pipeline-parallel-size") + 1] == "1" and given[given.index("--port") + 1] == "9001"
    line = vllm_templates.command("m", "production-high", speculative={"model": "d", "num_speculative_tokens": 2})
    assert line.startswith("vllm serve m ") and """'{"model": "d", "num_speculative_tokens": 2}'""" in line
    assert "--no-enable-prefix-caching" in vllm_templates.arguments("m", "development")


@pytest.mark.parametrize("template, options, said", [
    ("huge", {}, "no template 'huge'. Use one of: development"),
    ("staging", {"quantisation": "q4"}, "quantisation='q4': use one of awq"),
])
def test_what_there_is_no_template_for(template, options, said):
    with pytest.raises(lk.BadRequest, match=said):
        vllm_templates.arguments("m", template, **options)


def test_a_second_connection_shares_the_server(model):
    assert lk.connect("vllm").backend.base_url == model.backend.base_url
    assert [server.base_url for server in managed.running("vllm")].count(model.backend.base_url) == 1


def test_it_goes_on_from_a_given_beginning(model):
    request = Request(QUESTION, prefix="The capital of France is", max_tokens=1)
    assert "".join(chunk.text for chunk in model.backend.generate(request)) == " Paris"
    text, logprob = model.backend.next_tokens(request)[0]
    assert text == " Paris" and -0.7 < logprob <= 0


def test_likelihoods_are_those_of_the_model(model, slm):
    """Against llama.cpp on the same weights: bfloat16 against F16, so equal to a few per cent."""
    pairs = [(QUESTION, "The capital of France is Paris."), (QUESTION, "I like bananas."), (QUESTION, "Paris")]
    assert model.backend.loglikelihood(pairs) == pytest.approx(slm.backend.loglikelihood(pairs), rel=0.05, abs=0.5)


def test_every_kind_of_constraint_is_probed_on_the_server(model):
    assert model.capabilities.constraints == {"json_schema", "lark", "regex"}
    assert model.capabilities.scores and model.capabilities.continues
