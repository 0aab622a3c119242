"""Lesson 07, ONNX Runtime and Foundry Local: a trace read, providers in order, a variant for a machine."""
from __future__ import annotations

from labkit.course.checking import CheckFailed, exercise, expect


def _kernel(name: str, dur: int) -> dict:
    return {"name": f"/layer/{name}_kernel_time", "dur": dur, "args": {"op_name": name}}


@exercise("07.1", title="Shares of a trace",
          hint="First a list of the events that count, then their total; then add each one's share to its operator's.")
def check_shares(answer):
    run = {"name": "model_run", "dur": 900, "args": {}}
    events = [run, _kernel("MatMul", 60), _kernel("Add", 20), run, _kernel("MatMul", 20)]
    got = answer(events)
    if not isinstance(got, dict):
        raise CheckFailed(f"A dict is wanted, not {type(got).__name__}.")
    expect({name: round(share, 6) for name, share in got.items()}, {"MatMul": 0.8, "Add": 0.2},
           "MatMul 60 and 20 µs, Add 20 µs, and two runs that are no kernels")
    expect(answer([_kernel("Add", 5)]), {"Add": 1.0}, "one kernel")


@exercise("07.2", title="Providers in order",
          hint="Leave the processor out of the list first, and put it at the end afterwards.")
def check_providers(answer):
    cpu, cuda, dml = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Dml"))
    expect(list(answer([cuda], [cuda, cpu])), [cuda, cpu], "CUDA wanted and there")
    expect(list(answer([cuda, dml], [dml, cpu])), [dml, cpu], "CUDA wanted, only Dml there")
    expect(list(answer([cpu, cuda], [cuda, cpu])), [cuda, cpu], "the processor wanted first: it still comes last")
    expect(list(answer([cuda, cuda, dml], [dml, cuda, cpu])), [cuda, dml, cpu], "CUDA wanted twice")
    expect(list(answer([], [cpu])), [cpu], "nothing wanted")


@exercise("07.3", title="A variant for the machine",
          hint="Make a list of the variants that fit, then max() with key= for the size. An empty list has no max.")
def check_choose_variant(answer):
    variants = [{"id": id, "device": device, "megabytes": megabytes} for id, device, megabytes in [
        ("small-cpu", "cpu", 500), ("cpu", "cpu", 2000), ("gpu", "gpu", 2500), ("npu", "npu", 900)]]
    expect(answer(variants, {"cpu"}, 8000), "cpu", "a processor, 8 GB free")
    expect(answer(variants, {"cpu", "gpu"}, 8000), "gpu", "a GPU too")
    expect(answer(variants, {"cpu", "gpu"}, 2400), "cpu", "2400 MB free: 2000 MB need just that")
    expect(answer(variants, {"cpu", "npu"}, 1500), "npu", "1500 MB free")
    expect(answer(variants, {"cpu"}, 599), None, "599 MB free: nothing fits")
