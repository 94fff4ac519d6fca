"""A search in two processes that train one sharded model."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.operations import by_operations


def stopped():
    """A search after three trials."""
    search = lrx.Search(steps=200)
    for _ in range(3):
        trial = search.ask()
        search.tell(trial, np.full(trial.steps, 4.0))
    return search


rates_of = by_operations(lambda schedule, counts: schedule(counts))


def ask(folder):
    # one device of each: steps that wait for one another can block each other on those that one CPU plays
    devices = [jax.local_devices(process_index=i)[0] for i in range(2)]
    sharding = NamedSharding(jax.sharding.Mesh(np.array(devices), ("x",)), P("x"))
    tx = lrx.sgd(1.0)

    def start(seed):
        return jax.make_array_from_callback((4,), sharding, lambda index: np.ones(4, np.float32)[index] + seed % 3)

    @jax.jit
    def step(params, state, rate):
        loss, grads = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
        updates, state = tx.update(grads, lrx.with_hyperparams(state, learning_rate=rate), params)
        return lrx.apply_updates(params, updates), state, loss

    # process 0 alone has the file
    file = folder / "search.json"
    search = lrx.Search.from_json(file.read_text()) if jax.process_index() == 0 else lrx.Search(steps=200)
    for _ in range(2):  # also in the middle of a search
        text = np.frombuffer(search.to_json().encode().ljust(2**16), np.uint8)
        text = multihost_utils.broadcast_one_to_all(text)
        search = lrx.Search.from_json(bytes(text).decode())
        while (trial := search.ask()) is not None:
            params, losses = start(trial.seed), []
            state = tx.init(params)
            for rate in np.asarray(rates_of(trial.schedule, np.arange(trial.steps))):
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
