"""The arithmetic against published counts, a real file and what llama.cpp reserves."""
from __future__ import annotations

import gguf
import pytest

from labkit.errors import BadRequest, ModelFileError
from labkit.models import adapter_file
from labkit.models import budget as b
from labkit.models.embedded import default_model, wheel_file

PUBLISHED = {  # weights as each model's page or safetensors index counts them
    "SmolLM2-135M": 134_515_008, "Qwen2.5-0.5B": 494_032_768, "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824, "Phi-4-mini": 3_836_021_760, "Qwen2.5-7B": 7_615_616_512,
    "Phi-4": 14_659_507_200,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_counted_from_the_shape_are_the_published_count(name):
    assert b.SHAPES[name].parameters == PUBLISHED[name]


def test_every_preset_is_checked():
    assert set(PUBLISHED) == set(b.SHAPES)


def test_the_embedded_files_shape_is_the_preset():
    shape, preset = b.shape_of(wheel_file()), b.SHAPES["SmolLM2-135M"]
    assert shape.parameters == preset.parameters and shape.tied
    for field in ("layers", "width", "ffn", "heads", "kv_heads", "head_dim", "vocab", "context"):
        assert getattr(shape, field) == getattr(preset, field)


def test_the_computed_file_is_within_three_percent_of_the_real_one():
    path = default_model()
    form = next(form for form in b.BITS if f".{form}" in path.name)
    allowed = 0.2 if form == "Q4_1" else 0.03  # in the wheel's Q4_1 file the table is Q8_0
    assert b.budget(form=form).file_bytes == pytest.approx(path.stat().st_size, rel=allowed)


def test_kv_cache_and_working_memory_are_what_llama_cpp_reserves():
    """Its own log for this model at n_ctx 4096, n_ubatch 512: 90.00 MiB and 99.38 MiB."""
    found = b.budget(context=4096, batch=512)
    assert found.kv_bytes == 90 * 2**20
    assert found.compute_bytes == pytest.approx(99.38 * 2**20, rel=1e-3)


def test_grouped_query_attention_shrinks_the_cache():
    full = b.Shape("full attention", 16, 2048, 8192, 32, 32, 64, 128256, 131072)
    assert b.budget(full).kv_bytes == 4 * b.budget("Llama-3.2-1B").kv_bytes


def test_a_separate_input_table_is_not_read_for_every_token():
    untied, tied = b.budget("Phi-4"), b.budget("SmolLM2-135M")
    assert tied.bytes_per_token() == pytest.approx(tied.file_bytes, rel=1e-6)
    assert untied.file_bytes - untied.bytes_per_token() == pytest.approx(100352 * 5120 * 8.5 / 8, rel=1e-6)


def test_the_ceiling_falls_as_the_context_fills():
    found = b.budget(bandwidth=40e9)
    assert found.ceiling() == pytest.approx(40e9 / (134_515_008 * 8.5 / 8))
    assert found.ceiling(8000) < found.ceiling()
    assert b.budget().ceiling() is None



def test_what_fits_depends_on_the_memory_given():
    fitting = [x.shape.name for x in b.what_fits(memory_bytes=4 * 10**9) if x.fits]
    assert "Llama-3.2-3B" in fitting and "Phi-4" not in fitting
    assert not any(x.fits for x in b.what_fits(memory_bytes=10**8))


def test_without_a_machine_nothing_is_claimed():
    found = b.budget()
    assert found.fits is None
    assert "fits this machine" not in str(found) and "ceiling" not in str(found)


def test_it_shows_itself_as_text_and_as_a_markdown_table():
    found = b.what_fits(memory_bytes=8 * 10**9, bandwidth=40e9)
    lines = found._repr_markdown_().splitlines()
    assert lines[0].startswith("| model |") and lines[1].startswith("| --- | --- | ---: |")
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(b.SHAPES)
    assert "SmolLM2-135M" in str(found)


@pytest.mark.parametrize("wrong", [{"model": "GPT-9"}, {"form": "Q1_7"}, {"context": 0}])
def test_a_wrong_request_says_what_there_is(wrong):
    with pytest.raises(BadRequest):
        b.budget(**wrong)


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    path = tmp_path / "notes.gguf"
    path.write_bytes(b"these are notes")
    with pytest.raises(ModelFileError, match="notes.gguf"):
        b.shape_of(path)


def test_an_adapter_is_no_model():
    with pytest.raises(ModelFileError, match="tool_calls.gguf is no language model: it does not say its"):
        b.shape_of(adapter_file.course())


def test_a_file_may_count_heads_by_layer_and_leave_out_the_length_of_its_vocabulary(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "openelm")
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length([96, 128])
    writer.add_head_count([4, 8])
    writer.add_context_length(512)
    writer.add_token_list(["a", "b", "c"])
    for write in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, write)()
    shape = b.shape_of(tmp_path / "odd.gguf")
    assert (shape.heads, shape.kv_heads, shape.ffn, shape.vocab, shape.context) == (8, 8, 128, 3, 512)
