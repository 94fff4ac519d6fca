"""What holds from one process to the next: equal optimizers, stamps, and programs on disk.

Two processes answer all of it, since each takes longer to import JAX than to answer.
"""

import json

import cloudpickle
import pytest

import lrx
from lrx._pytree import pytree_dataclass
from lrx._stamp import stamp_of
from tests.common import python

STAMPED = """[
    lrx.scale_by_adam(),
    lrx.scale_by_learning_rate(lrx.cosine_decay_schedule(0.1, 10)),
    lrx.scale_by_learning_rate(len),
    lrx.trace(0.9, nesterov=True),
    lrx.scale_by_learning_rate(lrx.plateau(0.1)),
]"""
CODE = f"""
import json, pickle, sys
import jax, jax.numpy as jnp
folder, rate = sys.argv[1:]
jax.config.update("jax_compilation_cache_dir", folder + "/programs")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
import lrx
from lrx._stamp import stamp_of

events, told = [], {{}}
tx = lrx.adam(lrx.linear_schedule(0.1, 0.0, 10))
params = jnp.ones(7)
state = lrx.with_hyperparams(tx.init(params), learning_rate={{"init_value": float(rate)}})
jax.monitoring.register_event_listener(lambda event, **kwargs: events.append(event))
jax.jit(tx.update)(params, state, params)
told["hits"] = sum("cache_hits" in event for event in events)

mine, known = pickle.load(open(folder + "/optimizers.pkl", "rb"))
same = lrx.adam(lrx.linear_schedule(1.0, 0.0, 10))
told["equal"] = known == same and hash(known) == hash(same)
state = mine.init(jnp.ones(3))
jax.eval_shape(mine.update, jnp.ones(3), state)
told["rate"] = float(lrx.learning_rate(state))
told["peak"] = float(lrx.hyperparams(state)["scale_by_learning_rate.learning_rate.peak"])

told["stamps"] = [int(stamp_of(t.init.rule)) for t in {STAMPED}]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What two processes say, one after the other, that differ in the edited rate and in how strings hash."""
    folder = tmp_path_factory.mktemp("processes")

    @pytree_dataclass
    class Mine:
        peak: float

        def __call__(self, count):
            return self.peak * 1.0

    Mine.__module__ = "__main__"  # as a class that was written in a notebook, which is shipped by value
    mine, known = lrx.adam(Mine(0.5)), lrx.adam(lrx.linear_schedule(1.0, 0.0, 10))
    hash(mine), hash(known)
    (folder / "optimizers.pkl").write_bytes(cloudpickle.dumps((mine, known)))
    return [json.loads(python(CODE, folder, rate, PYTHONHASHSEED=seed)) for rate, seed in ((1e-3, "1"), (1e-2, "2"))]


def test_optax_577_compilation_cache_on_disk_serves_every_edited_rate(told):
    assert [answers["hits"] for answers in told] == [0, 1]


def test_pickle_in_another_process_is_equal_and_hashes_equal(told):
    """Strings hash differently there. A class written in a notebook must register itself."""
    for answers in told:
        assert answers["equal"]
        assert answers["rate"] == answers["peak"] == 0.5


def test_the_stamp_is_that_of_the_code_in_every_process(told):
    """It is formed from numbers and names, never from addresses or salted hashes."""
    stamps = [int(stamp_of(t.init.rule)) for t in eval(STAMPED, {"lrx": lrx})]
    assert len(set(stamps)) == len(stamps)
    assert [answers["stamps"] for answers in told] == [stamps, stamps]
