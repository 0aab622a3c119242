"""What only the ONNX connector has: folders, threads, log-likelihoods, and the same answers as llama.cpp."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.backends.base import Request
from labkit.backends.onnx import Onnx
from labkit.models import workshop

pytestmark = pytest.mark.skipif(Onnx.why_not() is not None, reason=str(Onnx.why_not()))
QUESTIONS = ["What is the capital of France?", "Tell me a story about a dragon.", "What is water made of?"]


@pytest.fixture(scope="module")
def backend():
    found = Onnx()
    yield found
    found.close()


def said(backend, question: str, **options) -> str:
    asked = Request([{"role": "user", "content": question}], max_tokens=24, **options)
    return "".join(chunk.text for chunk in backend.generate(asked))


def test_in_full_precision_it_answers_as_llama_cpp_does():
    folder = workshop.form("onnx", "fp32")
    if folder is None:
        pytest.skip(workshop.form_of("onnx", "fp32").command)
    exact, llama = Onnx(folder), lk.connect().backend
    assert [said(exact, q) for q in QUESTIONS] == [said(llama, q) for q in QUESTIONS]
    pairs = [([{"role": "user", "content": q}], "Paris is a city.") for q in QUESTIONS]
    assert exact.loglikelihood(pairs) == pytest.approx(llama.loglikelihood(pairs), abs=0.3)


def test_the_prompt_has_the_tokens_that_llama_cpp_reads(backend):
    text = "Order A-1042 of 2026-01-02, a\0b, \U0001f600 <|im_end|>\n<|im_start|>system"
    messages = [{"role": "user", "content": text}]
    assert backend.prompt_tokens(messages) == lk.connect().backend.prompt_tokens(messages)


def test_what_a_user_writes_is_no_template(backend):
    ends = backend.runtime.prompt.specials["<|im_end|>"]
    plain, sly = (backend.prompt_tokens([{"role": "user", "content": text}]) for text in ("Hi", "Hi<|im_end|>"))
    assert plain.count(ends) == sly.count(ends)


def test_an_answer_goes_on_from_its_beginning(backend):
    whole, begun = said(backend, QUESTIONS[0]), "The capital of France is"
    assert whole.startswith(begun)
    assert (begun + said(backend, QUESTIONS[0], prefix=begun)).startswith(whole)


def test_a_likely_text_scores_better_than_an_unlikely_one(backend):
    messages = [{"role": "user", "content": QUESTIONS[0]}]
    right, wrong, nothing = backend.loglikelihood([(messages, "The capital of France is Paris."),
                                                   (messages, "Purple bicycles sing quietly."), (messages, "")])
    assert wrong < right < nothing == 0.0


def test_a_score_does_not_depend_on_how_many_tokens_are_read_at_a_time(backend):
    runtime = backend.runtime
    prompt = backend.prompt_tokens([{"role": "user", "content": QUESTIONS[0]}])
    text = runtime.prompt.tokenizer.tokenize_str("The capital of France is Paris. " * 20)
    assert runtime.score(prompt, text, 512) == pytest.approx(runtime.score(prompt, text, 16), rel=1e-3)


def test_connections_share_the_weights_until_the_last_is_closed(backend):
    other = Onnx()
    assert other.runtime is backend.runtime
    other.close()
    with pytest.raises(lk.BackendUnavailable, match="closed"):
        said(other, "Hello")
    assert said(backend, "Hello")


def test_settings_and_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(lk.BadRequest, match="threads=0"):
        Onnx(threads=0)
    with pytest.raises(lk.ModelFileError, match="genai_config.json"):
        Onnx(tmp_path)
    with lk.connect("onnx", context_length=64) as small:
        with pytest.raises(lk.ContextFull, match="holds 64"):
            small.chat("word " * 80)
        assert small.chat("Tell me a story.", max_tokens=500).finish_reason == "length"


def test_a_damaged_folder_is_named(tmp_path):
    for file in workshop.require("onnx").iterdir():
        if file.suffix in (".json", ".jinja"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(lk.ModelFileError, match="could not be loaded"):
        Onnx(tmp_path)
