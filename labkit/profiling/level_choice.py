"""Which level of quantisation for which device: from what the ladder measured here, and from the device's memory.

A level is possible on a device when it is as true as asked (the share of places with the reference's next token), and
when the file, the KV cache and the working memory fit into the RAM that is free for a model. Of the possible ones the
one that writes fastest is taken. How fast, on a device that is not this one, is an estimate:

    tokens/s = measured share of the ceiling · bandwidth / (bytes of weights + of KV cache at half the context)

It assumes that the other processor keeps up with its memory as well as this one does.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from labkit.errors import BadRequest
from labkit.models.budget import Budget
from labkit.models.hardware import usable_memory
from labkit.profiling.ladder import Ladder, Rung
from labkit.profiling.ladder import run as measure
from labkit.table import Shown, Table, size

READABLE = 0.7  # of a memory's rated speed; what reading alone reaches on most machines is 60 to 80 %
QUALITY, CONTEXT = 0.9, 2048
HERE = "this machine"


@dataclass(frozen=True)
class Device:
    """ram_bytes: free for a model. bytes_per_s: memory reads."""

    name: str
    ram_bytes: int
    bytes_per_s: float
    source: str = "as given"


def _estimate(name: str, ram_gb: float, bus_bits: int, megatransfers: int, memory: str) -> Device:
    """A device by its memory: bus width / 8 · transfers per second is the rated speed."""
    rated = bus_bits / 8 * megatransfers * 1e6
    return Device(name, int(ram_gb * 1e9), READABLE * rated,
                  f"estimate: {memory}, {bus_bits} bits · {megatransfers} MT/s · {READABLE:.0%}")


# Half of a phone's or a tablet's memory is the system's; typical parts, not particular products.
DEVICES = {device.name: device for device in (
    _estimate("phone", 3, 64, 6400, "LPDDR5"),
    _estimate("tablet", 4, 64, 6400, "LPDDR5"),
    _estimate("single-board computer", 2, 32, 4267, "LPDDR4X"),
    _estimate("laptop", 8, 128, 5600, "DDR5"),
    _estimate("workstation", 48, 256, 4800, "DDR5"),
)}


@dataclass(frozen=True)
class Option:
    """A level on a device. against: why it is not possible, or ""."""

    level: str
    ram_bytes: int
    tokens_per_s: float
    same_top: float
    against: str = ""


@dataclass(frozen=True, repr=False)
class Choice(Shown):
    """level: None where none is possible."""

    device: Device
    context: int
    quality: float
    options: tuple[Option, ...]

    @property
    def best(self) -> Option | None:
        return max((o for o in self.options if not o.against), key=lambda o: o.tokens_per_s, default=None)

    @property
    def level(self) -> str | None:
        return self.best.level if self.best else None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "level": self.level}

    def table(self) -> Table:
        rows = tuple((o.level, size(o.ram_bytes), f"{o.tokens_per_s:.0f}", f"{o.same_top:.1%}",
                      "chosen" if o is self.best else o.against or "slower") for o in self.options)
        none = "" if self.best else " No level will do: give it more memory, a shorter context or a lower floor."
        return Table(("level", "RAM", "tokens/s", "same top token", "why"), rows,
                     title=f"{self.device.name}: {self.level or 'no level'}",
                     note=f"{size(self.device.ram_bytes)} for a model, {self.device.bytes_per_s / 1e9:.0f} GB/s "
                          f"({self.device.source}), context of {self.context} tokens, the same next token at "
                          f"{self.quality:.0%} of the places or more.{none}")


def choose(device: str | Device = HERE, *, ram_bytes: float | None = None, bytes_per_s: float | None = None,
           quality: float = QUALITY, context: int = CONTEXT, ladder: Ladder | None = None) -> Choice:
    """The fastest level that fits a device and is true enough.

    device: this machine, a name in DEVICES, or a Device of your own; ram_bytes and bytes_per_s replace its figures.
    quality: the least share of places with the reference's next token. context: tokens. ladder: what was measured;
    None measures now, or takes what was measured before. Raises BadRequest for what makes no sense.
    """
    if not 0 <= quality <= 1 or context < 1:
        raise BadRequest(f"quality={quality} must be from 0 to 1, and context={context} at least 1.")
    measured = ladder or measure()
    there = _with(_device(device, measured), ram_bytes, bytes_per_s)
    return Choice(there, context, quality, tuple(_option(rung, measured, there, context, quality)
                                                 for rung in measured.rungs))


def _device(device: str | Device, measured: Ladder) -> Device:
    if isinstance(device, Device):
        return device
    if device == HERE:
        return Device(HERE, usable_memory(), measured.bytes_per_s, "measured")
    if device not in DEVICES:
        raise BadRequest(f"Unknown device {device!r}. Use {HERE!r}, {', '.join(map(repr, DEVICES))}, or a Device.")
    return DEVICES[device]


def _with(device: Device, ram_bytes: float | None, bytes_per_s: float | None) -> Device:
    if any(given is not None and given <= 0 for given in (ram_bytes, bytes_per_s)):
        raise BadRequest("ram_bytes and bytes_per_s are bytes, more than 0.")
    if ram_bytes is None and bytes_per_s is None:
        return device
    return Device(device.name, int(ram_bytes or device.ram_bytes), bytes_per_s or device.bytes_per_s,
                  device.source if bytes_per_s is None else "as given")


def _option(rung: Rung, measured: Ladder, device: Device, context: int, quality: float) -> Option:
    budget = Budget(measured.shape, context=context)
    ram = rung.file_bytes + budget.kv_bytes + budget.compute_bytes
    read = rung.file_bytes * measured.shape.read_parameters / measured.shape.parameters
    speed = rung.share * device.bytes_per_s / (read + budget.kv_bytes_per_token * context / 2)
    against = [f"needs {size(ram)}"] if ram > device.ram_bytes else []
    against += ["not true enough"] if rung.same_top < quality else []
    return Option(rung.level, ram, speed, rung.same_top, ", ".join(against))
