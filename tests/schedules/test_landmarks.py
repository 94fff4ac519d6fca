"""To the last bit, as XLA compiles for those who train: the values of every schedule at its start and at its end."""

import jax
import numpy as np
import pytest

import lrx
from tests.common import same
from tests.schedules.cases import CASES

pytestmark = pytest.mark.real_compiler

EXACT = [case for case in CASES if case.exact]
PARTS = [EXACT[i::8] for i in range(8)]
ONE_EACH = {case.factory: case.name for case in reversed(EXACT)}.values()
"""Those whose numbers are constants of the program too: in the agreement tests, with arrays of counts, all are."""


@pytest.mark.parametrize("cases", PARTS, ids=[f"{part[0].name}_and_{len(part) - 1}_more" for part in PARTS])
def test_landmarks_are_the_same_eager_jitted_and_in_a_state(cases):
    """One program for each part of the list: it costs a fraction of many."""
    txs = [lrx.sgd(case.build()) for case in cases]
    ones = np.ones(1, np.float32)
    starts = [tx.init(ones) for tx in txs]

    def applied(case, tx, start, count):
        memory = start["scale_by_learning_rate"].memory._replace(count=count)
        state = {"scale_by_learning_rate": start["scale_by_learning_rate"]._replace(memory=memory)}
        rate = lrx.learning_rate(tx.update(ones, state)[1])
        return (rate, case.build()(count)) if case.name in ONE_EACH else (rate,)

    @jax.jit
    def rates(counts):
        return [applied(*x) for x in zip(cases, txs, starts, counts, strict=True)]

    for counts in ([0] * len(cases), [case.last for case in cases]):
        for case, count, got in zip(cases, counts, rates([np.int32(count) for count in counts]), strict=True):
            value = case.build()(count)
            assert all(same(rate, value) for rate in got), (case.name, count)
