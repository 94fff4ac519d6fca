"""A million counts in one call, lrx and the bare formula: `python -m benchmarks.schedules [--json FILE]`.

Both are jitted, with all their numbers as arguments. The bare formula is the docstring's in `jax.numpy`: near the
end of a long run it loses digits, where lrx's is exact to a few ulps.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import lrx

from ._timing import paired, ratio, write

PEAK, STEPS, WARMUP, RATE = 3e-3, 900_000, 10_000, 0.96


def bare_linear(t: Any, start: Any, end: Any, steps: Any, begin: Any) -> Any:
    """A line between two values, from a step on."""
    return start + (end - start) * jnp.clip((t - begin) / steps, 0.0, 1.0)


def bare_cosine(t: Any, peak: Any, steps: Any, alpha: Any, exponent: Any) -> Any:
    """Half a cosine to a fraction, to a power."""
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(t / steps, 1.0)))
    return peak * ((1 - alpha) * cosine**exponent + alpha)


def bare_exponential(t: Any, peak: Any, rate: Any) -> Any:
    """A power of the rate."""
    return peak * rate ** (t / 1000)


def bare_warmup_cosine(t: Any, start: Any, peak: Any, warmup: Any, steps: Any, end: Any, exponent: Any) -> Any:
    """A line up, half a cosine down, to a power."""
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((t - warmup) / (steps - warmup), 0.0, 1.0)))
    return jnp.where(t < warmup, start + (peak - start) * t / warmup, end + (peak - end) * cosine**exponent)


CASES: dict[str, tuple[Any, Callable[..., Any], tuple[float, ...]]] = {
    "linear": (lrx.linear_schedule(PEAK, 0.0, STEPS), bare_linear, (PEAK, 0.0, STEPS, 0)),
    "cosine": (lrx.cosine_decay_schedule(PEAK, STEPS), bare_cosine, (PEAK, STEPS, 0.0, 1.0)),
    "exponential": (lrx.exponential_decay(PEAK, 1000, RATE), bare_exponential, (PEAK, RATE)),
    "warmup cosine": (
        lrx.warmup_cosine_decay_schedule(0.0, PEAK, WARMUP, STEPS),
        bare_warmup_cosine,
        (0.0, PEAK, WARMUP, STEPS, 0.0, 1.0),
    ),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--json")
    args = parser.parse_args()
    counts = jnp.arange(1_000_000, dtype=jnp.int32)
    ours = jax.jit(lambda schedule, t: schedule(t))
    results = []
    print(f"{'schedule':14} {'bare ms':>8} {'lrx ms':>8} {'lrx/bare':>8}  quartiles")
    for name, (schedule, bare, numbers) in CASES.items():
        formula, values = jax.jit(bare), [jnp.float32(x) for x in numbers]

        def run_ours(schedule: Any = schedule) -> None:
            ours(schedule, counts).block_until_ready()

        def run_bare(formula: Any = formula, values: Any = values) -> None:
            formula(counts, *values).block_until_ready()

        run_ours()
        run_bare()
        times = paired({"lrx": run_ours, "bare": run_bare}, args.rounds)
        middle, low, high = ratio(times, "lrx", "bare")
        lrx_ms, bare_ms = (1e3 * statistics.median(times[k]) for k in ("lrx", "bare"))
        print(f"{name:14} {bare_ms:8.2f} {lrx_ms:8.2f} {middle:8.2f}  {low:.2f} .. {high:.2f}", flush=True)
        results.append({"schedule": name, "bare_ms": bare_ms, "lrx_ms": lrx_ms, "ratio": middle})
    write(args.json, results)


if __name__ == "__main__":
    main()
