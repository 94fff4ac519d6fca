"""How far is the factor of `lrx.probe` from the right one?

`python -m benchmarks.doctor.probe [--tasks A,B] [--json FILE]`

Runs: development tasks of `benchmarks.choose` × Adam and momentum × linear to zero and constant, both after a warmup of
a twentieth, 400 steps. The truth is the rate with the lowest final training loss of 25 from 1e-5 to 10, with the
parabola through it and its neighbours. From runs at 1/10, 0.3, 1, 3 and 10 times that rate, half-way, `lrx.probe` is
asked for its factor, with branches of 1 to 25 steps on new batches; the error is its distance from the right factor in
decades. Its cost is given in calls of the step, as a share of the run.
"""

import argparse
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx

from .._timing import write
from ..choose.tasks import TASKS, Task

STEPS = 400
RATES = np.geomspace(1e-5, 10.0, 25)
OFF = np.array([0.1, 10**-0.5, 1.0, 10**0.5, 10.0])
LENGTHS = (1, 4, 10, 25)
DEVELOPMENT = ("digits", "digits auto-encoder", "diabetes", "vowel")
OPTIMIZERS = {"adam": lrx.adam, "momentum": functools.partial(lrx.sgd, momentum=0.9)}
SCHEDULES = {
    "linear": lambda peak: lrx.warmup_linear_schedule(peak, STEPS // 20, total_steps=STEPS),
    "constant": lambda peak: lrx.warmup_constant_schedule(0.0, peak, STEPS // 20),
}


class Training:
    """One task with one optimizer and schedule."""

    def __init__(self, task: Task, optimizer: str, schedule: str):
        self.problem = task.scored
        self.tx = OPTIMIZERS[optimizer](SCHEDULES[schedule](1.0))
        self.step = jax.jit(self._step)

    def _step(self, state: Any, batch: Any) -> Any:
        params, opt_state = state
        loss, grads = jax.value_and_grad(self.problem.loss)(params, batch, None)
        updates, opt_state = self.tx.update(grads, opt_state, params)
        return (lrx.apply_updates(params, updates), opt_state), loss

    def _trained(self, rate: Any, steps: int) -> Any:
        """The state after some steps at a rate."""
        start, data = jax.random.split(jax.random.key(0))
        params = self.problem.init(start)
        opt_state = lrx.with_hyperparams(self.tx.init(params), learning_rate={"peak_value": rate})

        def body(state: Any, t: jax.Array) -> Any:
            return self._step(state, self._batch(jax.random.fold_in(data, t)))

        return jax.lax.scan(body, (params, opt_state), jnp.arange(steps))[0]

    def _batch(self, key: Any) -> Any:
        sample = self.problem.sample
        assert sample is not None
        return sample(key)

    def best_rate(self) -> float:
        """That with the lowest training loss at the end of a whole run."""
        evaluate = self.problem.evaluate
        assert evaluate is not None

        def final(rate: jax.Array) -> Any:
            return evaluate(self._trained(rate, STEPS)[0])["training"]

        losses = np.asarray(jax.jit(jax.vmap(final))(jnp.asarray(RATES, jnp.float32)), np.float64)
        losses = np.nan_to_num(losses, nan=np.inf, posinf=np.inf)
        i, place = int(np.argmin(losses)), 0.0
        if 0 < i < len(RATES) - 1 and np.isfinite(losses[i - 1 : i + 2]).all():
            a, b, c = losses[i - 1 : i + 2]
            place = float(np.clip(0.5 * (a - c) / max(a - 2 * b + c, 1e-12), -0.5, 0.5))
        return float(RATES[i] * (RATES[1] / RATES[0]) ** place)

    def probes(self, best: float) -> list[dict[str, Any]]:
        """What probes of each length say, from runs at multiples of the best rate."""
        middle = jax.jit(lambda rate: self._trained(rate, STEPS // 2))
        batches = [self._batch(jax.random.fold_in(jax.random.key(1), t)) for t in range(max(LENGTHS))]
        rows = []
        for off in OFF:
            state = middle(jnp.float32(best * off))
            for steps in LENGTHS:
                found = lrx.probe(self.step, state, batches, steps=steps)
                low, high = found.interval
                rows.append(
                    {
                        "off": float(off),
                        "steps": steps,
                        "cost": 2 * len(found.factors) * steps / STEPS,
                        "error": float(np.log10(found.factor * off)),
                        "covered": bool(low <= 1 / off <= high),
                    }
                )
        return rows


def summary(rows: list[dict[str, Any]]) -> str:
    """One line for each length of the branches."""
    lines = ["steps   cost   median |error|   median error   90th percentile   in the interval   runs"]
    for steps in LENGTHS:
        own = [r for r in rows if r["steps"] == steps]
        e = np.array([r["error"] for r in own])
        numbers = np.median(abs(e)), np.median(e), np.quantile(abs(e), 0.9), np.mean([r["covered"] for r in own])
        lines.append(
            "{:5}  {:4.1%}  {:15.2f}  {:13.2f}  {:16.2f}  {:15.0%}  {:5}".format(
                steps, own[0]["cost"], *numbers, len(own)
            )
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(DEVELOPMENT))
    parser.add_argument("--json")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in given.tasks.split(","):
        task = TASKS[name]()
        for optimizer in OPTIMIZERS:
            for schedule in SCHEDULES:
                training = Training(task, optimizer, schedule)
                best = training.best_rate()
                named = {"task": name, "optimizer": optimizer, "schedule": schedule, "best": best}
                rows += [{**named, **row} for row in training.probes(best)]
                print(named, flush=True)
        print(summary(rows), flush=True)
        write(given.json, {"steps": STEPS, "rows": rows})


if __name__ == "__main__":
    main()
