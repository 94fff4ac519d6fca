"""`lrx.find` with one model in memory and with three: `python -m benchmarks.lanes [--width N] [--layers N] …`.

Adam on dense layers with 8 million parameters; a search costs as many gradients as a quarter of the run. Beside
the searches stands the training of the run itself, with optax, as the memory that any user needs. Each measurement is a
new process: the seconds with compilation, and the most memory that the process held beyond that of the same with a
small network.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import lrx

from ._timing import write

INPUTS, CLASSES, BATCH = 64, 10, 16
WAYS = {"train": "training with optax", "one": "find(lanes=1)", "three": "find()"}


def network(width: int, layers: int) -> lrx.Problem:
    """Labels that a random matrix gives to random inputs."""
    teacher = jax.random.normal(jax.random.key(0), (INPUTS, CLASSES))
    sizes = ((INPUTS, width), *[(width, width)] * layers, (width, CLASSES))

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(sizes))
        return [jax.random.normal(k, s) * (2 / s[0]) ** 0.5 for k, s in zip(keys, sizes, strict=True)]

    def sample(key: jax.Array) -> Any:
        x = jax.random.normal(key, (BATCH, INPUTS))
        return x, jnp.argmax(x @ teacher, axis=1)

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        del key
        x, y = batch
        for w in params[:-1]:
            x = jax.nn.relu(x @ w)
        return optax.softmax_cross_entropy_with_integer_labels(x @ params[-1], y).mean()

    return lrx.Problem(init, loss, sample)


def train(problem: lrx.Problem, steps: int) -> None:
    """The loop that anyone would write, with donation."""
    tx = optax.adam(1e-4)

    def step(params: Any, state: Any, batch: Any) -> Any:
        assert problem.loss is not None
        updates, state = tx.update(jax.grad(problem.loss)(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    assert problem.sample is not None
    run, sample = jax.jit(step, donate_argnums=(0, 1)), jax.jit(problem.sample)
    params = problem.init(jax.random.key(0))
    state = tx.init(params)
    for t in range(steps):
        params, state = run(params, state, sample(jax.random.key(t)))
    jax.block_until_ready(params)


def peak() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(way: str, width: int, layers: int, steps: int) -> dict[str, float]:
    """In this process: seconds, and MiB beyond those of a small network."""

    def go(problem: lrx.Problem) -> None:
        if way == "train":
            train(problem, steps // 4)
        else:
            lrx.find(problem, lrx.adam, steps=steps, lanes=1 if way == "one" else None)

    go(network(8, layers))
    before, begin = peak(), time.perf_counter()
    go(network(width, layers))
    return {"seconds": time.perf_counter() - begin, "MiB": peak() - before}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--width", type=int, default=2800)
    parser.add_argument("--layers", type=int, default=1, help="square matrices")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measured(args.only, args.width, args.layers, args.steps)))
        return
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(args.repeats):
        for way, some in runs.items():
            command = [sys.executable, "-m", "benchmarks.lanes", "--only", way]
            command += ["--width", str(args.width), "--layers", str(args.layers), "--steps", str(args.steps)]
            some.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    middle = {way: {k: statistics.median(r[k] for r in some) for k in some[0]} for way, some in runs.items()}
    for way, title in WAYS.items():
        seconds = [r["seconds"] for r in runs[way]]
        print(f"{title:20} {middle[way]['seconds']:6.1f} s ({min(seconds):.1f} .. {max(seconds):.1f})", end="")
        print(f" {middle[way]['MiB']:7.0f} MiB")
    times = [a["seconds"] / b["seconds"] for a, b in zip(runs["one"], runs["three"], strict=True)]
    print(f"seconds, lanes=1 / three: {statistics.median(times):.2f} ({min(times):.2f} .. {max(times):.2f})")
    print(f"memory, lanes=1 / training: {middle['one']['MiB'] / middle['train']['MiB']:.2f}")
    write(args.json, runs)


if __name__ == "__main__":
    main()
