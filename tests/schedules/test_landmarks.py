"""To the last bit, as XLA compiles for those who train: the values of every schedule at its start and at its end."""

import jax
import jax.numpy as jnp
import pytest

import lrx
from tests.common import same
from tests.schedules.cases import CASES

pytestmark = pytest.mark.real_compiler

EXACT = [case for case in CASES if case.exact]
PARTS = [EXACT[i::8] for i in range(8)]


@pytest.mark.parametrize("cases", PARTS, ids=[f"{part[0].name}_and_{len(part) - 1}_more" for part in PARTS])
def test_landmarks_are_the_same_eager_jitted_and_in_a_state(cases):
    """One program for each part of the list: it costs a fraction of many."""
    txs = [lrx.sgd(case.build()) for case in cases]
    starts = [tx.init(jnp.ones(1)) for tx in txs]

    def applied(case, tx, start, count):
        memory = start["scale_by_learning_rate"].memory._replace(count=count)
        state = {"scale_by_learning_rate": start["scale_by_learning_rate"]._replace(memory=memory)}
        return lrx.learning_rate(tx.update(jnp.ones(1), state)[1]), case.build()(count)

    @jax.jit
    def rates(counts):
        return [applied(*x) for x in zip(cases, txs, starts, counts, strict=True)]

    for counts in ([0] * len(cases), [case.last for case in cases]):
        for case, count, got in zip(cases, counts, rates([jnp.int32(count) for count in counts]), strict=True):
            assert same(got, (case.build()(count), case.build()(count))), (case.name, count)
