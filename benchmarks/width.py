"""Whether a learning rate survives a wider model: `python -m benchmarks.width [digits] [text] [--json FILE]`.

For each width, Adam trains the same network under the standard parametrization (one rate for all, initial values by
fan-in) and under `lrx.scale_for_width` and `lrx.rescale_init`, whose base is the smallest width. Rates differ by
factors of 2. `digits`: two hidden layers; `text`: a transformer of one block on the characters of `problems.text`.
The table has the best rate at each width (mean of the seeds' final training losses, with a linear decay to zero).
`--coordinates` prints how much three updates change what the network's layers put out, at each width.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx

from ._timing import write

KINDS = "standard", "μP"
HEAD = 16


def dense(key: jax.Array, fan_in: int, fan_out: int) -> jax.Array:
    """Initial values by fan-in."""
    return jax.random.normal(key, (fan_in, fan_out)) / jnp.sqrt(fan_in)


def digits_init(key: jax.Array, width: int) -> Any:
    """64 inputs, two hidden layers, 10 logits."""
    keys = jax.random.split(key, 3)
    sizes = (64, width), (width, width), (width, 10)
    return [{"w": dense(k, *size), "b": jnp.zeros(size[1])} for k, size in zip(keys, sizes, strict=True)]


def digits_layers(params: Any, x: jax.Array) -> list[jax.Array]:
    """What each layer puts out."""
    outputs = []
    for layer in params:
        x = x @ layer["w"] + layer["b"]
        outputs.append(x)
        x = jax.nn.relu(x)
    return outputs


def text_init(key: jax.Array, width: int, context: int = 32, letters: int = 96, blocks: int = 1) -> Any:
    """Embeddings, blocks of attention and two layers, logits."""
    keys = iter(jax.random.split(key, 3 + 6 * blocks))
    block = {"q": 1, "k": 1, "v": 1, "proj": 1, "up": 4}
    return {
        "embedding": jax.random.normal(next(keys), (letters, width)),
        "positions": {"embedding": 0.1 * jax.random.normal(next(keys), (context, width))},
        "blocks": [
            {
                **{name: {"w": dense(next(keys), width, n * width)} for name, n in block.items()},
                "down": {"w": dense(next(keys), 4 * width, width)},
            }
            for _ in range(blocks)
        ],
        "last": {"w": dense(next(keys), width, letters)},
    }


def _normal(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def _attention(block: Any, x: jax.Array) -> jax.Array:
    heads = lambda name: (x @ block[name]["w"]).reshape(*x.shape[:-1], -1, HEAD)  # noqa: E731
    logits = jnp.einsum("...shd,...thd->...hst", heads("q"), heads("k")) / jnp.sqrt(HEAD)
    seen = jnp.tril(jnp.ones(logits.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e9))
    return jnp.einsum("...hst,...thd->...shd", weights, heads("v")).reshape(x.shape) @ block["proj"]["w"]


def text_layers(params: Any, x: jax.Array) -> list[jax.Array]:
    """The residual stream after each block, and the logits of each next character."""
    h = params["embedding"][x] + params["positions"]["embedding"][: x.shape[-1]]
    outputs = []
    for block in params["blocks"]:
        h = h + _attention(block, _normal(h))
        h = h + jax.nn.relu(_normal(h) @ block["up"]["w"]) @ block["down"]["w"]
        outputs.append(h)
    return [*outputs, _normal(h) @ params["last"]["w"]]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Its mean."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1))


def digits_loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
    """Of the classes."""
    return cross_entropy(digits_layers(params, batch[0])[-1], batch[1])


def text_loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
    """Of each character given those before it."""
    windows, following = batch
    shifted = jnp.concatenate([windows[:, 1:], following[:, None]], 1)
    return cross_entropy(text_layers(params, windows)[-1], shifted)


TASKS: dict[str, tuple[Any, ...]] = {
    "digits": (digits_init, digits_layers, digits_loss, lambda: lrx.problems.digits(batch_size=64)),
    "text": (text_init, text_layers, text_loss, lambda: lrx.problems.text(batch_size=4)),
}


def parametrized(task: str, kind: str, width: int, base: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`init(key)` and `make_optimizer(rate)`."""
    init = TASKS[task][0]
    if kind == "standard":
        return lambda key: init(key, width), lrx.adam
    small = jax.eval_shape(lambda: init(jax.random.key(0), base))
    scales = lrx.scale_for_width(jax.eval_shape(lambda: init(jax.random.key(0), width)), small)
    return (
        lambda key: lrx.rescale_init(init(key, width), small),
        lambda rate: lrx.chain(lrx.adam(rate), lrx.by_multiplier(scales)),
    )


def losses(task: str, kind: str, width: int, base: int, rates: np.ndarray, seeds: int, steps: int) -> np.ndarray:
    """Final training losses, (rates, seeds)."""
    source = TASKS[task][3]()
    init, make_optimizer = parametrized(task, kind, width, base)
    problem = lrx.Problem(init=init, loss=TASKS[task][2], sample=source.sample, name=f"{task} {width}")
    decay = {"linear": lambda peak, steps: lrx.linear_schedule(peak, 0.0, steps)}
    columns = []
    for seed in range(seeds):  # one after another: all rates of a wide model together are large enough
        key = jax.random.key(seed)
        method = "map" if task == "text" else "auto"
        sweep = lrx.sweep(
            problem, make_optimizer, learning_rate=rates, schedule=decay, steps=steps, key=key, method=method
        )
        columns.append(sweep.final[:, 0, 0])
    return np.stack(columns, 1)


def changes(task: str, kind: str, width: int, base: int, rate: float) -> list[float]:
    """The root of the mean square of how three updates change what each layer puts out."""
    source = TASKS[task][3]()
    init, make_optimizer = parametrized(task, kind, width, base)
    params, tx = init(jax.random.key(1)), make_optimizer(rate)
    batch = source.sample(jax.random.key(2))
    layers, loss = TASKS[task][1:3]
    before, state = layers(params, batch[0]), tx.init(params)
    step = jax.jit(lambda p, s: tx.update(jax.grad(loss)(p, batch), s, p))
    for _ in range(3):
        updates, state = step(params, state)
        params = lrx.apply_updates(params, updates)
    return [float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in zip(layers(params, batch[0]), before, strict=True)]


def draw(results: dict[str, Any], path: str) -> None:
    """A row for each task, a column for each parametrization: loss over rate, a curve a width."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(results), 2, figsize=(9, 3.4 * len(results)), sharex="row", sharey="row", squeeze=False
    )
    for row, (task, result) in zip(axes, results.items(), strict=True):
        for ax, kind in zip(row, KINDS, strict=True):
            colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(result["widths"])))
            for color, width, final in zip(colors, result["widths"], result["losses"][kind], strict=True):
                means = np.mean(final, 1)
                ax.plot(result["rates"], means, color=color, label=str(width))
                ax.plot(result["rates"][np.nanargmin(means)], np.nanmin(means), "o", color=color)
            ax.set(xscale="log", title=f"{task}, {kind}", xlabel="learning rate")
            best, start = np.nanmin([np.mean(x, 2) for x in result["losses"].values()]), result["start"]
            ax.set_yscale("log") if task == "digits" else None
            ax.set_ylim(best * 0.7 if task == "digits" else best - 0.1, start)
        row[0].set_ylabel("final training loss")
        row[1].legend(title="width", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=["digits"], choices=list(TASKS))
    parser.add_argument("--widths", default="64,128,256,512,1024")
    parser.add_argument("--rates", default="-14:-1", help="first and last power of two")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--coordinates", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--plot")
    args = parser.parse_args()
    widths = [int(w) for w in args.widths.split(",")]
    if args.coordinates:
        for task in args.tasks:
            for kind in KINDS:
                for width in widths:
                    sizes = changes(task, kind, width, widths[0], 3e-3)
                    print(task, kind, width, *(f"{size:.4f}" for size in sizes), flush=True)
        return
    first, last = map(int, args.rates.split(":"))
    rates = 2.0 ** np.arange(first, last + 1)
    results: dict[str, Any] = {}
    for task in args.tasks:
        start = float(np.log(10 if task == "digits" else 96))
        results[task] = {"widths": widths, "rates": rates.tolist(), "steps": args.steps, "start": start, "losses": {}}
        for kind in KINDS:
            results[task]["losses"][kind] = []
            for width in widths:
                final = losses(task, kind, width, widths[0], rates, args.seeds, args.steps)
                results[task]["losses"][kind].append(np.where(np.isfinite(final), final, np.nan).tolist())
                means = np.mean(final, 1)
                best = int(np.nanargmin(np.where(np.isfinite(means), means, np.nan)))
                print(f"{task:7} {kind:9} {width:5}  best rate 2^{first + best}, loss {means[best]:.4g}", flush=True)
    write(args.json, results)
    if args.plot:
        draw(json.loads(json.dumps(results)), args.plot)


if __name__ == "__main__":
    main()
