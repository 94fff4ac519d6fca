"""A search in two processes that train one sharded model. `test_search_loops.py` starts both.

python -m tests.tuning.search_on_two_processes PORT PROCESS FILE
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import lrx

from ..conftest import cheaply


def main(port, process, file):
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    with cheaply():
        train(Path(file))
    print("both done")


def train(file):
    sharding = NamedSharding(jax.make_mesh((2,), ("x",)), P("x"))
    tx = lrx.sgd(1.0)

    def start(seed):
        return jax.make_array_from_callback((4,), sharding, lambda index: np.ones(4, np.float32)[index] + seed % 3)

    @jax.jit
    def step(params, state, rate):
        loss, grads = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
        updates, state = tx.update(grads, lrx.with_hyperparams(state, learning_rate=rate), params)
        return lrx.apply_updates(params, updates), state, loss

    # process 0 alone has the file, of a search that was stopped after three trials
    search = lrx.Search.from_json(file.read_text()) if jax.process_index() == 0 else lrx.Search(steps=200)
    for _ in range(2):  # also in the middle of a search
        text = np.frombuffer(search.to_json().encode().ljust(2**16), np.uint8)
        text = multihost_utils.broadcast_one_to_all(text)
        search = lrx.Search.from_json(bytes(text).decode())
        while (trial := search.ask()) is not None:
            params, losses = start(trial.seed), []
            state = tx.init(params)
            for rate in np.asarray(trial.schedule(np.arange(trial.steps))):
                params, state, loss = step(params, state, rate)
                losses.append(loss)
            search.tell(trial, losses)
            if trial.id == 5:
                break
    assert search.done and step._cache_size() == 1
    rates = multihost_utils.process_allgather(np.float32(search.result.learning_rate))
    assert rates[0] == rates[1]
    assert 0.1 < rates[0] < 1.0
    assert search.cost == sum(len(r.losses) * r.steps for r in search.result.rounds)


if __name__ == "__main__":
    main(*sys.argv[1:])
