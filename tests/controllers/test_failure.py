"""What is missing is named, what is not finite is counted, and nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx

PARAMS = {"w": jnp.array([2.0, -1.0])}
GRADS = {"w": jnp.array([1.0, 0.5])}
NAN = {"w": jnp.array([jnp.nan, 0.5])}


def square(params):
    return jnp.sum(params["w"] ** 2)


# ---------------------------------------------------------------- what is missing

VALUE = r"needs value=, the loss.*tx\.update\(grads, state, params, value=loss\).*nnx.*TrainState.*lrx\.report"


@pytest.mark.parametrize(
    ("who", "tx"),
    [
        ("plateau", lrx.adam(lrx.plateau(0.1))),
        ("polyak", lrx.sgd(lrx.polyak(1.0))),
        ("l4", lrx.sgd(lrx.l4())),
        ("line_search", lrx.sgd(lrx.line_search())),
        ("momo", lrx.momo()),
        ("momo_adam", lrx.momo_adam()),
        ("hdm", lrx.hdm()),
        ("dog", lrx.sgd(lrx.dog(lrx.plateau(1.0)))),
        ("reduce_on_plateau", lrx.reduce_on_plateau()),
        ("prodigy", lrx.prodigy(lrx.plateau(1.0))),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_missing_value_is_asked_for_by_name(who, tx):
    with pytest.raises(ValueError, match=rf"{who}\(.*{VALUE}"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_a_missing_value_fn_and_missing_parameters_are_asked_for():
    tx = lrx.sgd(lrx.line_search())
    with pytest.raises(ValueError, match=r"line_search.* needs value_fn=, the loss as a function"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)
    for tx in (lrx.sgd(lrx.dog()), lrx.prodigy(), lrx.mechanize(lrx.sgd(1.0)), lrx.schedule_free_sgd()):
        with pytest.raises(ValueError, match="needs the parameters"):
            tx.update(GRADS, tx.init(PARAMS))


def test_the_gradient_is_asked_for_where_no_chain_gives_it():
    tx = optax.chain(optax.scale_by_adam(), lrx.scale_by_learning_rate(lrx.polyak(1.0)))
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"needs grad=.*inside optax\.chain too, give it yourself"):
        tx.update(GRADS, state, PARAMS, value=1.0)
    tx.update(GRADS, state, PARAMS, value=1.0, grad=GRADS)


def test_polyak_after_adam_sees_the_slope_of_the_gradient():
    """Not that of Adam's direction with itself."""
    _, state = lrx.adam(lrx.polyak(10.0), eps=0.0).update(
        GRADS, lrx.adam(lrx.polyak(10.0), eps=0.0).init(PARAMS), PARAMS, value=3.0
    )
    assert lrx.learning_rate(state) == pytest.approx(3.0 / 1.5)  # Adam's first direction is the sign


def test_a_line_search_refuses_a_mask():
    tx = lrx.masked(lrx.sgd(lrx.line_search()), {"w": True, "b": False})
    params = {**PARAMS, "b": jnp.ones(1)}
    with pytest.raises(ValueError, match=r"line_search evaluates the loss.*outside masked and partition"):
        tx.update(params, tx.init(params), params, value=1.0, value_fn=square)


@pytest.mark.parametrize("make", [lrx.prodigy, lrx.dadapt_sgd, lrx.dadapt_adamw, lrx.hdm, lrx.schedule_free_radam])
def test_a_controller_that_needs_the_direction_is_refused_where_there_is_none_yet(make):
    with pytest.raises(ValueError, match=r"\(learning_rate=...\) must be .* does without the direction"):
        make(lrx.polyak(1.0))
    make(lrx.plateau(1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lrx.plateau(0.1, factor=1.0), r"plateau\(factor=...\) must be in \[0, 1\)"),
        (lambda: lrx.plateau(0.1, mode="lowest"), r"plateau\(mode=...\) must be one of 'min', 'max', got 'lowest'"),
        (lambda: lrx.plateau(0.1, patience=-1), r"plateau\(patience=...\) must not be negative"),
        (lambda: lrx.polyak(1.0, c=0.0), r"polyak\(c=...\) must be positive"),
        (lambda: lrx.polyak(1.0, variant="sps_max"), r"polyak\(variant=...\) must be one of"),
        (lambda: lrx.hypergradient(0.1, hyper_learning_rate=-1.0), r"hyper_learning_rate=...\) must not be negative"),
        (lambda: lrx.line_search(increase=0.5), r"line_search\(increase=...\) must not be less than 1"),
        (lambda: lrx.dog(reps_rel=0.0), r"dog\(reps_rel=...\) must be positive"),
        (lambda: lrx.prodigy(growth_rate=0.9), r"prodigy\(growth_rate=...\) must not be less than 1"),
        (lambda: lrx.prodigy(estim_lr_max=0.0), r"prodigy\(estim_lr_max=...\) must be positive"),
        (lambda: lrx.prodigy(growth_steps=-1), r"prodigy\(growth_steps=...\) must not be negative"),
        (lambda: lrx.prodigy(estim_lr0=0.0), r"prodigy\(estim_lr0=...\) must be positive"),
        (lambda: lrx.schedule_free_sgd(b1=0.0), r"schedule_free_sgd\(b1=...\) must be positive"),
        (lambda: lrx.mechanize(lrx.sgd(1.0), num_betas=0), r"mechanize\(num_betas=...\) must be positive"),
    ],
)
def test_bad_numbers_are_refused_where_they_are_typed(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match=r"plateau\(learning_rate=...\) must be a number, a schedule or a controller"):
        lrx.plateau("0.1")


RATES = {
    "plateau": lambda rate: lrx.plateau(rate),
    "hypergradient": lambda rate: lrx.hypergradient(rate, hyper_learning_rate=0.1),
    "l4": lambda rate: lrx.l4(rate),
    "dog": lambda rate: lrx.dog(rate),
    "dowg": lambda rate: lrx.dowg(rate),
    "prodigy": lambda rate: lrx.prodigy(rate),
    "dadapt_adamw": lambda rate: lrx.dadapt_adamw(rate),
    "dadapt_sgd": lambda rate: lrx.dadapt_sgd(rate),
    "hdm": lambda rate: lrx.hdm(rate),
    "schedule_free": lambda rate: lrx.schedule_free(lrx.sgd(0.1), rate),
    "schedule_free_radam": lambda rate: lrx.schedule_free_radam(rate),
}
CAPS = {
    "polyak": lambda rate: lrx.polyak(rate),
    "alig": lambda rate: lrx.alig(rate),
    "curvature_cap": lambda rate: lrx.curvature_cap(rate),
    "distance_cap": lambda rate: lrx.distance_cap(rate, max_distance=1.0),
    "momo": lambda rate: lrx.momo(rate),
}


@pytest.mark.parametrize("name", [*RATES, *CAPS])
def test_a_rate_that_is_no_rate_is_refused_as_adam_refuses_it(name):
    for bad, rule in (
        (float("nan"), "not be negative|be finite"),
        (-1.0, "not be negative"),
        (float("inf"), "be finite"),
    ):
        if name in CAPS and bad == float("inf"):
            CAPS[name](bad)  # no cap
            continue
        with pytest.raises(ValueError, match=rf"{name}\((max_)?learning_rate=...\) must {rule}"):
            (RATES | CAPS)[name](bad)


def test_schedule_free_around_an_optimizer_without_a_rate_of_lrxs_asks_for_it():
    tx = lrx.schedule_free(optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"keeps none. Give it as well, as optax's"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)
    tx = lrx.schedule_free(optax.sgd(0.1), 0.1)
    tx.update(GRADS, tx.init(PARAMS), PARAMS)


# ---------------------------------------------------------------- what is not finite

COUNTED = {
    "polyak": lrx.sgd(lrx.polyak(1.0)),
    "hypergradient": lrx.sgd(lrx.hypergradient(0.1, hyper_learning_rate=0.01)),
    "l4": lrx.sgd(lrx.l4()),
    "dog": lrx.sgd(lrx.dog(init_distance=0.1)),
    "dowg": lrx.sgd(lrx.dowg()),
    "hypergradient_multiplicative": lrx.sgd(lrx.hypergradient(0.1, hyper_learning_rate=0.01, mode="multiplicative")),
    "distance_cap": lrx.sgd(lrx.distance_cap(0.1, max_distance=0.1)),
    "curvature_cap": lrx.sgd(lrx.curvature_cap(0.1)),
    "line_search": lrx.sgd(lrx.line_search(1.0)),
    "momo": lrx.momo(),
    "momo_adam": lrx.momo_adam(),
    "prodigy": lrx.prodigy(estim_lr0=0.1),
    "dadapt_sgd": lrx.dadapt_sgd(estim_lr0=0.1),
    "dadapt_adagrad": lrx.dadapt_adagrad(estim_lr0=0.1),
    "dadapt_adamw": lrx.dadapt_adamw(estim_lr0=0.1),
    "mechanize": lrx.mechanize(lrx.sgd(1.0), s_init=0.1),
    "cocob": lrx.cocob(),
    "hdm": lrx.hdm(),
}


def skipped(state):
    """How many updates a state says were skipped."""
    found = [x for path, x in jax.tree_util.tree_flatten_with_path(state)[0] if "skipped" in jax.tree_util.keystr(path)]
    return max(map(int, found))


def after(tx, *signals):
    """Rates and parameters of an update with each (gradient, loss)."""
    state, params, rates = tx.init(PARAMS), PARAMS, []
    for grads, value in signals:
        updates, state = tx.update(grads, state, params, value=jnp.float32(value), value_fn=square)
        params = lrx.apply_updates(params, updates)
        rates.append(lrx.learning_rate(state))
    return params, state, rates


@pytest.mark.parametrize("name", COUNTED)
def test_a_nan_gradient_is_counted_and_leaves_no_trace_in_the_memory(name):
    tx = COUNTED[name]
    good = (GRADS, 3.0)
    _, state, rates = after(tx, good, (NAN, 3.0), good)
    assert skipped(state) == 1
    assert all(map(np.isfinite, rates))
    assert not any(bool(jnp.isnan(x).any()) for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating))
    _, _, expected = after(tx, good, good)
    if name != "hdm":  # which halves its rates
        assert rates[-1] == pytest.approx(float(expected[-1]), rel=1e-5)


@pytest.mark.parametrize("name", ["polyak", "l4", "line_search", "momo", "momo_adam"])
def test_a_nan_loss_with_a_good_gradient_is_no_step(name):
    tx = COUNTED[name]
    state = tx.init(PARAMS)
    updates, state = tx.update(GRADS, state, PARAMS, value=jnp.nan, value_fn=square)
    assert lrx.learning_rate(state) == 0
    assert not np.any(updates["w"])
    assert skipped(state) == 1


def test_optax_1051_a_zero_gradient_and_a_zero_rate_are_no_harm():
    zero = jax.tree.map(jnp.zeros_like, GRADS)
    warmup = lrx.linear_schedule(0.0, 1.0, 3)
    for tx in (lrx.prodigy(warmup), lrx.dadapt_adamw(warmup), lrx.dadapt_sgd(warmup), lrx.dadapt_adagrad(warmup)):
        _, state, rates = after(tx, (zero, 1.0), (GRADS, 1.0), (GRADS, 1.0), (GRADS, 1.0))
        assert skipped(state) == 0
        assert np.isfinite(rates[-1]) and rates[-1] > 0


# ---------------------------------------------------------------- one rate, one count, no aliases


@pytest.mark.parametrize(
    "make",
    [
        lambda s: lrx.sgd(lrx.plateau(s)),
        lambda s: lrx.sgd(lrx.polyak(s)),
        lambda s: lrx.momo(s),
        lambda s: lrx.prodigy(s),
        lambda s: lrx.dadapt_adamw(s),
        lambda s: lrx.cocob(s),
        lambda s: lrx.mechanize(lrx.sgd(s)),
        lambda s: lrx.schedule_free_sgd(s),
        lambda s: lrx.schedule_free(lrx.sgd(1.0), s),
    ],
    ids=[
        "plateau",
        "polyak",
        "momo",
        "prodigy",
        "dadapt",
        "cocob",
        "mechanize",
        "schedule_free",
        "schedule_free_given",
    ],
)
def test_optax_1744_a_schedule_inside_is_asked_once_an_update_from_count_0(make):
    asked = []

    def schedule(count):
        jax.debug.callback(lambda c: asked.append(int(c)), count)
        return 1.0 / (1.0 + count)

    tx = make(schedule)
    state = tx.init(PARAMS)
    asked.clear()
    for _ in range(3):
        _, state = tx.update(GRADS, state, PARAMS, value=jnp.float32(1.0))
        jax.effects_barrier()
    assert asked == [0, 1, 2]
    assert lrx.count(state) == 3


def test_optax_cocob_its_learning_rate_has_an_effect():
    half, whole = (lrx.cocob(rate).update(GRADS, lrx.cocob(rate).init(PARAMS), PARAMS)[0] for rate in (0.5, 1.0))
    np.testing.assert_allclose(half["w"], 0.5 * whole["w"])


def test_schedule_free_parameters_are_not_those_to_evaluate():
    """So that whoever evaluates the training parameters by mistake sees it in their loss."""
    tx = lrx.schedule_free_sgd(0.3)
    state, params = tx.init(PARAMS), PARAMS
    for _ in range(5):
        updates, state = tx.update(jax.grad(square)(params), state, params)
        params = lrx.apply_updates(params, updates)
    averaged = lrx.eval_params(state, params)
    assert square(averaged) != square(params)
    with pytest.raises(ValueError, match="no averaged parameters"):
        lrx.eval_params(lrx.sgd(0.5).init(PARAMS), PARAMS)


def test_edits_reach_a_controller_and_its_base():
    state = lrx.adam(lrx.plateau(lrx.linear_schedule(1.0, 0.5, 10), patience=3)).init(PARAMS)
    state = lrx.with_hyperparams(state, patience=5, learning_rate={"factor": 0.25, "learning_rate": {"end_value": 0.0}})
    held = lrx.hyperparams(state)
    assert held["scale_by_learning_rate.learning_rate.patience"] == 5
    assert held["scale_by_learning_rate.learning_rate.factor"] == 0.25
    assert held["scale_by_learning_rate.learning_rate.learning_rate.end_value"] == 0.0


@pytest.mark.parametrize("make", [lrx.prodigy, lrx.dadapt_adamw, lrx.dadapt_sgd, lrx.dadapt_adagrad])
def test_prodigy_39_a_learning_rate_in_place_of_the_factor_is_refused(make):
    message = rf"{make.__name__}\(learning_rate=...\) is a factor .* normally 1.*got 0.001\. Leave it out, or give 1.0"
    with pytest.raises(ValueError, match=message):
        make(1e-3)
    make(np.float64(1e-3))  # a number that was computed
    for factor in (0.01, 0.5, 1, 2.0, 0.0, jnp.float32(1e-3), lrx.linear_schedule(0.0, 1.0, 10), lrx.plateau(1.0)):
        make(factor)
    assert "`learning_rate` is a factor" in make.__doc__.split("\n")[0]


def test_a_controller_under_a_mask_sees_its_own_leaves():
    params = {"w": jnp.array([3.0]), "b": jnp.array([100.0])}
    tx = lrx.chain(lrx.masked(lrx.sgd(lrx.polyak(10.0)), {"w": True, "b": False}), lrx.freeze({"w": False, "b": True}))
    _, state = tx.update(params, tx.init(params), params, value=18.0)
    assert lrx.learning_rate(state) == pytest.approx(18.0 / 9.0)
