import jax
import numpy as np
import pytest

import lrx
from tests.tuning.bowl import bowl, lone_run


def test_the_ramp_is_exponential_from_start_to_stop():
    test = lrx.range_test(bowl(), lrx.sgd, start=1e-4, stop=1.0, num_steps=9)
    np.testing.assert_allclose(test.learning_rates, np.geomspace(1e-4, 1.0, 9), rtol=1e-6)
    assert test.learning_rates[0] == np.float32(1e-4)
    assert test.learning_rates[-1] == 1.0


def test_the_losses_are_those_of_training_with_the_ramp_as_schedule():
    key = jax.random.key(5)
    test = lrx.range_test(bowl(), lrx.adam, start=1e-3, stop=1.0, num_steps=12, key=key)
    ramp = lrx.exponential_decay(1e-3, 11, 1e3)
    np.testing.assert_allclose(test.losses, lone_run(bowl(), lrx.adam(ramp), 12, key), rtol=2e-5)


def test_losses_stay_in_the_record_when_the_ramp_diverges():
    test = lrx.range_test(bowl(), lrx.sgd, start=1e-3, stop=1e25, num_steps=40)
    assert len(test.losses) == 40
    assert not np.isfinite(test.losses[-1])
    assert np.isfinite(test.losses[:10]).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(start=0.0), r"range_test\(start=...\) must be positive, got 0.0."),
        (dict(start=1.0, stop=0.1), r"range_test\(start=...\) must be less than stop, got start=1.0, stop=0.1."),
        (dict(stop=float("inf")), r"range_test\(stop=...\) must be finite, got inf."),
        (dict(num_steps=1), r"range_test\(num_steps=...\) must be at least 2, got 1."),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.range_test(bowl(), lrx.sgd, **kwargs)
