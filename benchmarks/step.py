"""One optimizer step of lrx, optax and torch, paired: `python -m benchmarks.step [--quick] [--json FILE]`.

With `--monitor` alone, what `lrx.monitor` costs: Adam, Adam with ‖g‖₂ in its state, and Adam with a monitor.

A step is update and apply, jitted, with parameters and state donated in the order of the outputs:
`step(params, state, grads) -> (params, state)`. Donated buffers are matched to outputs in order, and on CPU the other
order copies everything. torch runs its fused (or, where there is none, foreach) implementation in place, if installed.

Bytes are those that an update cannot avoid: parameters, gradients and state read once, parameters and state written
once. The stream is the throughput of this machine on one large array in place, `x = 0.5 x + 1`, in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

import lrx

from ._timing import paired, ratio, write

SHAPES = {"1 x 20M": (1, 20_000_000), "200 x 5k": (200, 5_000), "1000 x 1k": (1_000, 1_000)}


@dataclass(frozen=True)
class Case:
    """An optimizer: for optax and lrx by module, for torch by class, and the words that it moves."""

    make: Callable[[Any], Any]
    words: int
    """Float32 words read and written for each parameter."""
    torch: tuple[str, dict[str, Any]] | None = None


CASES = {
    "sgd momentum": Case(lambda m: m.sgd(1e-3, momentum=0.9), 5, ("SGD", {"momentum": 0.9, "fused": True})),
    "adagrad": Case(lambda m: m.adagrad(1e-3), 5, ("Adagrad", {"fused": True})),
    "rmsprop": Case(lambda m: m.rmsprop(1e-3), 5, ("RMSprop", {"foreach": True})),
    "adam": Case(lambda m: m.adam(1e-3), 7, ("Adam", {"fused": True})),
    "adamw": Case(lambda m: m.adamw(1e-3), 7, ("AdamW", {"fused": True})),
    "lion": Case(lambda m: m.lion(1e-3), 5),
    "adam, cosine": Case(lambda m: m.adam(m.cosine_decay_schedule(1e-3, 10_000)), 7),
}


ADAPTIVE = {
    "adam(plateau)": lambda: lrx.adam(lrx.plateau(1e-3)),
    "adam(polyak)": lambda: lrx.adam(lrx.polyak(1e-3)),
    "adam(distance_cap)": lambda: lrx.adam(lrx.distance_cap(1e-3, max_distance=1.0)),
    "adam(curvature_cap)": lambda: lrx.adam(lrx.curvature_cap(1e-3)),
    "adam(hypergradient)": lambda: lrx.adam(lrx.hypergradient(1e-3, hyper_learning_rate=1e-7)),
    "adam(l4)": lambda: lrx.adam(lrx.l4()),
    "adam(dog)": lambda: lrx.adam(lrx.dog()),
    "adam(dowg)": lambda: lrx.adam(lrx.dowg()),
    "momo": lrx.momo,
    "momo_adam": lrx.momo_adam,
    "dadapt_sgd": lrx.dadapt_sgd,
    "dadapt_adagrad": lrx.dadapt_adagrad,
    "dadapt_adamw": lrx.dadapt_adamw,
    "prodigy": lrx.prodigy,
    "prodigy, slice_p=11": lambda: lrx.prodigy(slice_p=11),
    "mechanize(adam)": lambda: lrx.mechanize(lrx.adam(1.0)),
    "cocob": lrx.cocob,
    "hdm": lrx.hdm,
    "schedule_free_adamw": lrx.schedule_free_adamw,
    "schedule_free_adamw+": lambda: lrx.schedule_free_adamw(1.0, inner_momentum=0.9, polyak=True),
}
"""Rates that adapt, and optimizers that find theirs."""


def with_norm(tx: Any) -> Any:
    """The optimizer with the norm of the last gradient in its state: the sum that `lrx.monitor` needs."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        moved, inner = tx.update(updates, state[0], params, **extra)
        return moved, (inner, optax.global_norm(jax.lax.optimization_barrier(updates)))

    return optax.GradientTransformationExtraArgs(lambda params: (tx.init(params), jnp.zeros(())), update)


MONITORED = {
    "adam": lambda: lrx.adam(1e-3),
    "adam, norm": lambda: with_norm(lrx.adam(1e-3)),
    "adam, monitor": lambda: lrx.monitor(lrx.adam(1e-3)),
}


class Stepper:
    """An optimizer with its own parameters and state, stepped in place."""

    def __init__(self, tx: Any, apply: Callable[..., Any], leaves: int, size: int):
        def step(params: Any, state: Any, grads: Any) -> Any:
            updates, state = optax.with_extra_args_support(tx).update(grads, state, params, value=jnp.float32(1.0))
            return apply(params, updates), state

        self.params = {f"p{i:04}": jnp.ones(size) for i in range(leaves)}
        self.grads = jax.tree.map(lambda p: jnp.full_like(p, 1e-3), self.params)
        self.state = jax.jit(tx.init)(self.params)
        begin = time.perf_counter()
        traced = jax.jit(step, donate_argnums=(0, 1)).trace(self.params, self.state, self.grads)
        self.trace_seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        compiled = traced.lower().compile()
        self.compile_seconds = time.perf_counter() - begin
        memory = compiled.memory_analysis()
        self.temporary_bytes = memory.temp_size_in_bytes if memory else 0
        self.step = jax.jit(step, donate_argnums=(0, 1))

    def __call__(self) -> None:
        """One step, to its end."""
        self.params, self.state = self.step(self.params, self.state, self.grads)
        jax.block_until_ready(self.params)


class TorchStepper:
    """The same for torch."""

    def __init__(self, name: str, options: dict[str, Any], leaves: int, size: int):
        import torch  # type: ignore[import-not-found]  # optional

        self.params = [torch.ones(size, requires_grad=True) for _ in range(leaves)]
        for p in self.params:
            p.grad = torch.full_like(p, 1e-3)
        self.optimizer = getattr(torch.optim, name)(self.params, lr=1e-3, **options)

    def __call__(self) -> None:
        """One step."""
        self.optimizer.step()


class Stream:
    """One array, read and written in place."""

    def __init__(self, size: int = 20_000_000):
        self.x = jnp.ones(size)
        self.step = jax.jit(lambda x: 0.5 * x + 1, donate_argnums=0)

    def __call__(self) -> None:
        """Once over the array."""
        self.x = self.step(self.x)
        self.x.block_until_ready()

    def bytes_per_second(self, rounds: int) -> float:
        """The median rate."""
        for _ in range(3):
            self()
        seconds = paired({"stream": self}, rounds)["stream"]
        return 8 * self.x.size / statistics.median(seconds)


def has_torch() -> bool:
    """Whether torch is installed."""
    try:
        import torch  # type: ignore[import-not-found]  # optional
    except ImportError:
        return False
    return torch is not None


def builders(case: Case, leaves: int, size: int) -> dict[str, Callable[[], Any]]:
    """The candidates; packing only where there are several leaves."""
    built: dict[str, Callable[[], Any]] = {
        "lrx": lambda: Stepper(case.make(lrx), lrx.apply_updates, leaves, size),
        "optax": lambda: Stepper(case.make(optax), optax.apply_updates, leaves, size),
    }
    if leaves > 1:
        built["lrx.pack"] = lambda: Stepper(lrx.pack(case.make(lrx)), lrx.apply_updates, leaves, size)
    named = case.torch
    if named is not None and has_torch():
        built["torch"] = lambda: TorchStepper(*named, leaves, size)
    return built


def measured(case: Case, leaves: int, size: int, rounds: int, pairs: int) -> tuple[dict[str, list[float]], Any]:
    """Seconds of each step in turns, over several sets of fresh arrays, and the steppers of the last set.

    The place of a large array in memory changes its speed by some percent: each set has new arrays, built in another
    order.
    """
    times: dict[str, list[float]] = {}
    steppers: dict[str, Any] = {}
    for i in range(pairs):
        order = list(builders(case, leaves, size).items())
        steppers = {}
        for name, build in order if i % 2 == 0 else reversed(order):
            steppers[name] = build()
        for stepper in 3 * list(steppers.values()):
            stepper()
        for name, seconds in paired(dict(steppers), rounds).items():
            times.setdefault(name, []).extend(seconds)
    return times, steppers


def row(name: str, shape: str, who: str, times: dict[str, list[float]], stepper: Any, moved: float) -> dict[str, Any]:
    """One line of the table."""
    seconds = statistics.median(times[who])
    middle, low, high = ratio(times, who, "optax")
    compiled = isinstance(stepper, Stepper)
    return {
        "optimizer": name,
        "parameters": shape,
        "of": who,
        "ms": 1e3 * seconds,
        "ratio": middle,
        "quartiles": [low, high],
        "bytes_per_second": moved / seconds,
        "trace_s": stepper.trace_seconds if compiled else None,
        "compile_s": stepper.compile_seconds if compiled else None,
        "temporary_mb": stepper.temporary_bytes / 1e6 if compiled else None,
    }


def adaptive(name: str, make: Callable[[], Any], size: int, rounds: int, pairs: int) -> dict[str, Any]:
    """One line of the second table."""
    times: dict[str, list[float]] = {}
    words = 0.0
    for i in range(pairs):
        makes = {"adam": lambda: lrx.adam(1e-3), name: make}
        order = list(makes) if i % 2 == 0 else list(reversed(makes))
        steppers = {who: Stepper(makes[who](), lrx.apply_updates, 1, size) for who in order}
        words = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(steppers[name].state)) / 4 / size
        for stepper in 3 * list(steppers.values()):
            stepper()
        for who, seconds in paired(dict(steppers), rounds).items():
            times.setdefault(who, []).extend(seconds)
    middle, low, high = ratio(times, name, "adam")
    ms = 1e3 * statistics.median(times[name])
    return {"optimizer": name, "ms": ms, "ratio": middle, "quartiles": [low, high], "state_words": words}


def monitoring(shape: str, leaves: int, size: int, rounds: int, pairs: int) -> list[dict[str, Any]]:
    """The lines of the third table for one shape."""
    times: dict[str, list[float]] = {}
    steppers: dict[str, Stepper] = {}
    for i in range(pairs):
        steppers = {}
        for who in MONITORED if i % 2 == 0 else reversed(MONITORED):
            steppers[who] = Stepper(MONITORED[who](), lrx.apply_updates, leaves, size)
        for stepper in 3 * list(steppers.values()):
            stepper()
        for who, seconds in paired(dict(steppers), rounds).items():
            times.setdefault(who, []).extend(seconds)
    return [
        {
            "optimizer": who,
            "parameters": shape,
            "ms": 1e3 * statistics.median(times[who]),
            "per_adam": ratio(times, who, "adam"),
            "per_norm": ratio(times, who, "adam, norm"),
            "temporary_mb": steppers[who].temporary_bytes / 1e6,
        }
        for who in MONITORED
    ]


def monitor_table(quick: bool) -> list[dict[str, Any]]:
    """Print the third table."""
    print(
        f"{'':13} {'params':>9} {'ms':>8} {'/adam':>6} {'quartiles':>11} {'/norm':>6} {'quartiles':>11} {'temp MB':>8}"
    )
    rows = []
    for shape in ("1 x 20M", "200 x 5k"):
        leaves, size = SHAPES[shape]
        for r in monitoring(shape, leaves, max(100, size // 10) if quick else size, *((10, 2) if quick else (40, 4))):
            rows.append(r)
            text = f"{r['optimizer']:13} {shape:>9} {r['ms']:8.2f}"
            for middle, low, high in (r["per_adam"], r["per_norm"]):
                text += f" {middle:6.2f} {low:5.2f}..{high:4.2f}"
            print(f"{text} {r['temporary_mb']:8.2f}", flush=True)
    return rows


def line(r: dict[str, Any], stream: float) -> str:
    """A row as text."""
    low, high = r["quartiles"]
    text = (
        f"{r['optimizer']:13} {r['parameters']:>9} {r['of']:9} {r['ms']:8.2f} {r['ratio']:6.2f} {low:5.2f}..{high:4.2f}"
    )
    text += f" {r['bytes_per_second'] / 1e9:6.1f} {r['bytes_per_second'] / stream:7.2f}"
    if r["trace_s"] is not None:
        text += f" {r['trace_s']:8.2f} {r['compile_s']:9.2f} {r['temporary_mb']:7.1f}"
    return text


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller parameters")
    parser.add_argument("--adaptive", action="store_true", help="the second table alone")
    parser.add_argument("--monitor", action="store_true", help="the third table alone")
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.monitor:
        write(args.json, {"monitor": monitor_table(args.quick)})
        return
    stream = Stream().bytes_per_second(10 if args.quick else 40)
    print(f"in-place stream: {stream / 1e9:.1f} GB/s")
    print(f"{'optimizer':13} {'params':>9} {'of':9} {'ms':>8} {'/optax':>6} {'quartiles':>11} {'GB/s':>6} ", end="")
    print(f"{'/stream':>7} {'trace s':>8} {'compile s':>9} {'temp MB':>7}")
    results = []
    for shape, (leaves, size) in {} if args.adaptive else SHAPES.items():
        size, rounds, pairs = (
            (max(100, size // 10), 10, 2)
            if args.quick
            else (size, 30 if leaves == 1 else 60, 2 if leaves == 1_000 else 4)
        )
        for name, case in CASES.items():
            times, steppers = measured(case, leaves, size, rounds, pairs)
            for who in times:
                results.append(row(name, shape, who, times, steppers[who], 4 * case.words * leaves * size))
                print(line(results[-1], stream), flush=True)
    size, rounds, pairs = (2_000_000, 10, 1) if args.quick else (20_000_000, 20, 2)
    print(f"\n{size:,} parameters{'':9} {'ms':>8} {'/adam':>6} {'quartiles':>11} {'state words':>11}")
    overheads = []
    for name, make in ADAPTIVE.items():
        overheads.append(r := adaptive(name, make, size, rounds, pairs))
        low, high = r["quartiles"]
        print(
            f"{name:21} {r['ms']:8.2f} {r['ratio']:6.2f} {low:5.2f}..{high:4.2f} {r['state_words']:11.2f}", flush=True
        )
    write(args.json, {"stream_bytes_per_second": stream, "steps": results, "adaptive": overheads})


if __name__ == "__main__":
    main()
