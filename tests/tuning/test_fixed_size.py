"""The kind of an optimizer, from which the search knows how the best rate moves with the length of the run."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx.tuning._evidence import FALLS, STAYS, UNKNOWN, trend
from lrx.tuning._fixed_size import BY_NAME, drift_of


def problem(stateful=False):
    def init(key):
        del key
        params = {"kernel": jnp.zeros((40, 12)), "bias": jnp.zeros(12)}
        return (params, {"mean": jnp.zeros(3)}) if stateful else params

    losses = {"loss_with_state": lambda p, s, b, k: (0.0, s)} if stateful else {"loss": lambda p, b, key=None: 0.0}
    return lrx.Problem(init=init, sample=lambda key: jnp.zeros(()), **losses)


def parted(rate):
    def kinds(params):
        return {name: "matrix" if p.ndim == 2 else "other" for name, p in params.items()}

    return lrx.partition({"matrix": lrx.muon(rate), "other": lrx.adam(1e-3)}, kinds)


@pytest.mark.parametrize("make", [lrx.lion, parted, optax.sign_sgd, optax.contrib.muon])
def test_updates_of_a_fixed_size_are_told(make):
    assert drift_of(problem(), make) is FALLS


@pytest.mark.parametrize("make", [lrx.adam, optax.adamw, optax.rmsprop, lrx.sgd, lambda r: lrx.sgd(r, momentum=0.9)])
def test_updates_that_shrink_with_the_gradients_or_their_agreement_are_told(make):
    assert drift_of(problem(), make) is STAYS


def test_a_model_with_state_is_tried_by_its_parameters():
    assert drift_of(problem(stateful=True), optax.sign_sgd) is FALLS


def test_what_cannot_be_tried_is_unknown():
    def broken(rate):
        raise ValueError(rate)

    assert drift_of(problem(), broken) is UNKNOWN
    assert drift_of(problem(), lambda rate: optax.set_to_zero()) is UNKNOWN


def test_the_names_of_a_search_are_of_the_kind_that_the_optimizers_are():
    for name in ("sgd", "adam", "lion"):
        assert drift_of(problem(), getattr(lrx, name)) is BY_NAME[name]


def test_short_runs_of_sgd_that_prefer_lower_rates_the_longer_they_are_move_it_little():
    """So it is on satimage: .19, .06 and .04 after 8, 16 and 42 updates, but .18 after 1,000."""
    steps, rates, errors = [8, 16, 42], np.log([0.197, 0.061, 0.041]), [0.02, 0.66, 0.04]
    stays, unknown = (trend(steps, rates, errors, 1000, drift) for drift in (STAYS, UNKNOWN))
    assert stays.log_rate > math.log(0.03) > math.log(0.015) > unknown.log_rate
    assert stays.error < unknown.error


def test_a_search_uses_what_the_name_of_the_optimizer_says():
    def asked(name):
        search = lrx.Search(steps=1000, optimizer=name)
        while (trial := search.ask()) is not None:
            away = math.log(trial.learning_rate / 0.03) ** 2
            search.tell(trial, np.linspace(3.0, 0.3 + 0.1 * away, trial.steps))
        return search.result

    adam, lion, other = (asked(name) for name in ("adam", "lion", "my_own"))
    assert lion.learning_rate < other.learning_rate < adam.learning_rate
    assert adam.interval[1] / adam.interval[0] < other.interval[1] / other.interval[0]
