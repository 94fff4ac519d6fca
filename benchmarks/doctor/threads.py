"""Record the runs on real digits that the tests judge: `python -m benchmarks.doctor.threads FILE`."""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx

STEPS = 300


def train(rates: np.ndarray, make: Callable[[Any], Any], batch_at: Callable[[Any, Any], Any]) -> np.ndarray:
    """The losses of each row of rates, [rows, steps]."""
    problem = lrx.problems.digits()

    def run(rates: jax.Array) -> jax.Array:
        tx = make(lambda count: rates[count])
        params = problem.init(jax.random.key(0))

        def step(carry: Any, t: jax.Array) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(problem.loss)(params, batch_at(problem, t))
            updates, state = tx.update(grads, state, params)
            return (lrx.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(rates.size))[1]

    return np.asarray(jax.jit(lambda rows: jax.lax.map(run, rows))(jnp.asarray(rates, jnp.float32)))


def fresh(problem: Any, t: Any) -> Any:
    """A new batch each step."""
    return problem.sample(jax.random.fold_in(jax.random.key(1), t))


def repeated(every: int) -> Callable[[Any, Any], Any]:
    """The same few batches in the same order."""
    return lambda problem, t: fresh(problem, t % every)


def noisy(problem: Any, t: Any) -> Any:
    """Inputs with noise of the size of the signal."""
    x, y = fresh(problem, t)
    return x + jax.random.normal(jax.random.fold_in(jax.random.key(2), t), x.shape), y


def with_momentum(rate: Any) -> Any:
    """SGD with momentum 0.9."""
    return lrx.sgd(rate, momentum=0.9)


def main() -> None:
    """Write the file."""
    constant = np.ones(STEPS)
    wsd = np.asarray(jax.vmap(lrx.wsd_schedule(1.0, 15, decay_steps=60, total_steps=STEPS))(jnp.arange(STEPS)))
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    multiples = np.geomspace(0.001, 1000.0, 13)[:, None]
    out = {f"repeated_{k}": train(1e-3 * constant[None], lrx.sgd, repeated(k)) for k in (4, 8, 16)}
    out["noisy_rates"] = np.array([0.003, 0.1, 0.2, 0.4])[:, None] * wsd
    out["noisy"] = train(out["noisy_rates"], lrx.adam, noisy)
    out["dead"] = train(np.array([1.0, 2.0, 4.0, 8.0])[:, None] * constant, with_momentum, fresh)
    out["dead_adam"] = train(np.array([0.5, 1.0, 2.0])[:, None] * constant, lrx.adam, fresh)
    out["cosine"] = cosine
    out["adam_constant"] = train(0.01 * multiples * constant, lrx.adam, fresh)
    out["adam_cosine"] = train(0.02 * multiples * cosine, lrx.adam, fresh)
    out["sgd_constant"] = train(0.3 * multiples * constant, lrx.sgd, fresh)
    arrays: dict[str, Any] = {name: x.astype(np.float32) for name, x in out.items()}
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
