"""The references without a rate, or without a schedule, against their authors' packages and optax in float64."""

import functools
import json

import jax
import numpy as np
import optax
import optax.contrib
import pytest

from tests.reference import distance, record_authors
from tests.reference import learning_rate_free as free
from tests.reference import schedule_free as averaging
from tests.reference.compare import disagreement
from tests.reference.optimizers import adam, adam_directions, sgd, trajectory
from tests.reference.peer import decaying, optax_trajectory
from tests.reference.schedules import f32

RECORD = json.loads(record_authors.FILE.read_text())
STEPS = RECORD["meta"]["steps"]
GRADIENTS, X0 = record_authors.gradients(), record_authors.initial_parameters()


@pytest.fixture
def float64():
    """Let JAX compute in float64 for one test."""
    with jax.enable_x64(True):
        yield


# ---------------------------------------------------------------- the authors' packages


def schedule_free(make):
    """Return a reference as a function of the package's arguments."""
    return lambda lr, betas, **others: make(learning_rate=lr, b1=betas[0], b2=betas[1], **others)


def distance_free(make):
    """Return a reference as a function of the package's arguments."""
    return lambda lr, d0, **others: make(learning_rate=lr, estim_lr0=d0, **others)


# The packages' arguments in terms of the references'. They do not correct Adam's biases by default, and DAdaptAdam has
# a coupled decay by default, which the references have not.
AUTHORS = {
    "schedulefree.SGDScheduleFree": lambda lr, momentum, **others: averaging.schedule_free_sgd(lr, momentum, **others),
    "schedulefree.AdamWScheduleFree": schedule_free(averaging.schedule_free_adamw),
    "schedulefree.AdamWScheduleFreePaper": schedule_free(
        functools.partial(averaging.schedule_free_adamw, correction="rate")
    ),
    "schedulefree.RAdamScheduleFree": schedule_free(averaging.schedule_free_radam),
    "prodigyopt.Prodigy": distance_free(
        lambda d_coef, use_bias_correction=False, **others: free.prodigy(
            estim_lr_coef=d_coef, use_bias_correction=use_bias_correction, **others
        )
    ),
    "dadaptation.DAdaptSGD": distance_free(free.dadapt_sgd),
    "dadaptation.DAdaptAdam": distance_free(
        lambda decouple=True, use_bias_correction=False, **others: free.dadapt_adamw(
            use_bias_correction=use_bias_correction, **others
        )
    ),
    "dadaptation.DAdaptAdaGrad": distance_free(free.dadapt_adagrad),
}


def arguments_of(case):
    """Return the recorded hyperparameters; a linear rate as a function of the count."""
    arguments = dict(case["hyperparameters"])
    if arguments.pop("rate", None) == "linear":
        rate = arguments["lr"]
        arguments["lr"] = lambda count: rate * (1 - count / record_authors.STEPS)
    return arguments


def test_gradients_are_those_of_the_record():
    """NumPy still draws the numbers that the packages were given."""
    assert GRADIENTS.shape == (record_authors.STEPS, record_authors.SIZE)
    np.testing.assert_array_equal(GRADIENTS[0], RECORD["meta"]["first_gradient"])
    np.testing.assert_array_equal(GRADIENTS[-1], RECORD["meta"]["last_gradient"])
    for case in RECORD["cases"].values():
        np.testing.assert_allclose(case["parameters"][0], X0, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name, case in RECORD["cases"].items() if case["optimizer"] in AUTHORS])
def test_optimizer_is_the_authors(name):
    """After 200 steps with one state of scalars for both leaves, parameters and averages are the package's."""
    case = RECORD["cases"][name]
    make, arguments = AUTHORS[case["optimizer"]], arguments_of(case)
    ours = trajectory(make(**arguments), X0, GRADIENTS)
    assert disagreement(ours[STEPS], np.array(case["parameters"]), whole_path=ours) < 1e-10
    if "averages" in case:
        ours = trajectory(make(**arguments, averages=True), X0, GRADIENTS)
        assert disagreement(ours[STEPS], np.array(case["averages"]), whole_path=ours) < 1e-10


@pytest.mark.parametrize("name", ["dog", "dog_options", "l_dog"])
def test_distance_over_gradients_is_the_authors(name):
    """DoG, with one distance for both leaves or one for each, and the average of its path."""
    case = RECORD["cases"][name]
    arguments = dict(case["hyperparameters"])
    decay = arguments.pop("weight_decay", 0.0)

    def problem(t, x):
        gradients = record_authors.leaves(GRADIENTS[t])
        return 0.0, [g + decay * leaf for g, leaf in zip(gradients, x, strict=True)]

    make = {"dog.DoG": distance.dog, "dog.LDoG": distance.l_dog}[case["optimizer"]]
    path, _ = make(
        problem,
        record_authors.leaves(X0),
        record_authors.STEPS,
        learning_rate=arguments.pop("lr"),
        **arguments,
    )
    ours = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in path], axis=1)
    assert disagreement(ours[STEPS], np.array(case["parameters"]), whole_path=ours) < 1e-10
    averages = distance.polynomial_average(ours)
    assert disagreement(averages[STEPS], np.array(case["averages"]), whole_path=averages) < 1e-10


# ---------------------------------------------------------------- optax


def rounded(arguments):
    """Round every float among the arguments to float32, as the references do themselves."""
    values = {key: tuple(map(f32, value)) if isinstance(value, tuple) else value for key, value in arguments.items()}
    return {key: f32(value) if isinstance(value, float) else value for key, value in values.items()}


DEFAULTS = {
    "prodigy": {"learning_rate": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "estim_lr0": 1e-6, "weight_decay": 0.0},
    "dadapt_adamw": {"learning_rate": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "estim_lr0": 1e-6, "weight_decay": 0.0},
    "schedule_free_sgd": {"learning_rate": 1.0, "b1": 0.9, "weight_decay": 0.0, "weight_lr_power": 2.0},
    "schedule_free_adamw": {"learning_rate": 0.0025, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
}
OPTIONS = {"learning_rate": decaying, "betas": (0.8, 0.95), "eps": 1e-2, "estim_lr0": 1e-3, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("prodigy", {}),
        ("prodigy", OPTIONS | {"beta3": 0.9, "estim_lr_coef": 2.0}),
        ("prodigy", {"learning_rate": decaying, "safeguard_warmup": True}),
        ("dadapt_adamw", {}),
        ("dadapt_adamw", OPTIONS),
        ("schedule_free_sgd", {"learning_rate": 0.1}),
        ("schedule_free_sgd", {"learning_rate": 0.1, "b1": 0.5, "weight_decay": 0.3, "weight_lr_power": 1.0}),
        ("schedule_free_adamw", {"learning_rate": 0.1}),
        ("schedule_free_adamw", {"learning_rate": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "weight_decay": 0.3}),
    ],
)
def test_optimizer_is_optax_in_float64(name, arguments, float64):
    """On gradients whose mean goes to and fro, so that the estimates grow."""
    arguments = DEFAULTS[name] | arguments
    make = getattr(averaging if "schedule_free" in name else free, name)
    ours = trajectory(make(**arguments), X0, GRADIENTS)
    theirs = optax_trajectory(getattr(optax.contrib, name)(**rounded(arguments)), X0, GRADIENTS)
    assert theirs.dtype == np.float64
    assert disagreement(ours, theirs) < 1e-11


def test_schedule_free_weights_are_a_step_ahead_in_optax(float64):
    """optax counts its weights' rates from 1 and the steps' from 0; with a rate that grows one sees it."""

    def growing(count):
        return 0.01 * (count + 1)

    def directions(gradients):
        return iter(gradients)

    theirs = optax_trajectory(optax.contrib.schedule_free(optax.sgd(growing), growing, f32(0.9)), X0, GRADIENTS)
    ours = trajectory(averaging.schedule_free(growing, directions, convention="optax"), X0, GRADIENTS)
    assert disagreement(ours, theirs) < 1e-11
    ours = trajectory(averaging.schedule_free(growing, directions), X0, GRADIENTS)
    assert disagreement(ours, theirs) > 1e-3


@pytest.mark.parametrize(
    ("rate", "directions", "inner", "arguments"),
    [
        (1.0, iter, optax.sgd, {}),
        (decaying, iter, optax.sgd, {"weight_decay": 0.3, "eps": 1e-4, "s_init": 1e-3, "num_betas": 3}),
        (1.0, adam_directions(), optax.adam, {}),
        (decaying, adam_directions(), optax.adam, {"weight_decay": 0.0}),
    ],
    ids=["sgd", "sgd-options", "adam", "adam-no_decay"],
)
def test_mechanic_is_optax_in_float64(rate, directions, inner, arguments, float64):
    """Mechanic around gradient descent and Adam."""
    ours = trajectory(free.mechanic(rate, directions, **arguments), X0, GRADIENTS)
    others = {} if inner is optax.sgd else {"b1": f32(0.9), "b2": f32(0.999), "eps": f32(1e-8)}
    defaults = {"weight_decay": 1e-2, "eps": 1e-8, "s_init": 1e-6}
    theirs = optax.contrib.mechanize(inner(rate, **others), **rounded(defaults | arguments))
    assert disagreement(ours, optax_trajectory(theirs, X0, GRADIENTS)) < 1e-11


# ---------------------------------------------------------------- by themselves


def test_prodigy_of_the_paper_differs_by_the_place_of_the_new_estimate():
    """The paper's ε is multiplied by the old estimate of d: the same without ε, and where d has stopped growing."""
    paths = [trajectory(free.prodigy(convention=name, eps=1e-30), X0, GRADIENTS) for name in ("code", "paper")]
    np.testing.assert_array_equal(*paths)
    paths = [trajectory(free.prodigy(convention=name, eps=1.0), X0, GRADIENTS) for name in ("code", "paper")]
    assert disagreement(*paths) > 1e-3


def test_dadapt_sgd_is_the_formula_of_the_first_releases():
    """Twice the sum of the inner products is ‖s‖² − Σ δ²‖g‖², here without a restart of d's growth."""
    x, s, squares, d = X0, 0.0, 0.0, f32(1e-6)
    for t, theirs in enumerate(trajectory(free.dadapt_sgd(), X0, GRADIENTS)[1:]):
        delta = d / np.linalg.norm(GRADIENTS[0])
        s, squares = s + delta * GRADIENTS[t], squares + delta**2 * np.sum(GRADIENTS[t] ** 2)
        d = max(d, (np.sum(s**2) - squares) / np.linalg.norm(s))
        x = X0 - s
        np.testing.assert_allclose(theirs, x, rtol=1e-9)


def test_decoupling_sets_the_length_of_the_average():
    """C = 1/(1 − β) changes nothing, and with a huge C the average is the last z: no averaging at all."""
    plain = trajectory(averaging.schedule_free_sgd(0.1, b1=0.75), X0, GRADIENTS)
    same = trajectory(averaging.schedule_free_sgd(0.1, b1=0.75, decoupling=4.0), X0, GRADIENTS)
    np.testing.assert_array_equal(plain, same)
    none = trajectory(averaging.schedule_free_sgd(0.1, b1=0.75, decoupling=1e9), X0, GRADIENTS)
    assert disagreement(none, trajectory(sgd(0.1), X0, GRADIENTS)) < 1e-12


def test_schedule_free_radam_is_silent_for_four_steps():
    """With β2 = 0.999 ρ passes 4 in step 5; without silence the first steps are gradient descent's, averaged."""
    silent = trajectory(averaging.schedule_free_radam(0.05), X0, GRADIENTS)
    np.testing.assert_array_equal(silent[:5], np.broadcast_to(X0, (5, X0.size)))
    assert np.all(silent[5] != X0)
    loud = trajectory(averaging.schedule_free_radam(0.05, silent_sgd_phase=False), X0, GRADIENTS)
    assert disagreement(loud[:5], trajectory(averaging.schedule_free_sgd(0.05), X0, GRADIENTS)[:5]) < 1e-12


def test_schedule_free_plus_contains_schedule_free_and_adam():
    """Without values and momentum it is schedule-free Adam; as long as the average has not begun it is Adam."""
    plain = trajectory(averaging.schedule_free_plus(None, 0.05, b1=0.0), X0, GRADIENTS)
    assert disagreement(plain, trajectory(averaging.schedule_free_adamw(0.05, b2=0.95), X0, GRADIENTS)) < 1e-12
    momentum = trajectory(averaging.schedule_free_plus(None, 0.05), X0, GRADIENTS)
    inner = averaging.schedule_free_adamw(0.05, b2=0.95, inner_momentum=0.9)
    assert disagreement(momentum, trajectory(inner, X0, GRADIENTS)) < 1e-12
    late = trajectory(averaging.schedule_free_plus(None, 0.05, c_warmup=len(GRADIENTS)), X0, GRADIENTS)
    assert disagreement(late, trajectory(adam(0.05, b2=0.95), X0, GRADIENTS)) < 1e-12


def test_schedule_free_plus_first_steps_by_hand():
    """Adam's first direction is the sign of the gradient; the decay is that of the squared rate."""
    gradients, values = GRADIENTS[:1], [3.0]
    rate = 3.0 / (np.sum(np.abs(gradients)) * np.sqrt(np.pi / 2))
    path = trajectory(averaging.schedule_free_plus(values, eps=1e-30, weight_decay=20.0), X0, gradients)
    np.testing.assert_allclose(path[1], X0 - rate**2 * 20 * X0 - rate * np.sign(gradients[0]), rtol=1e-12)
    path = trajectory(averaging.schedule_free_plus([-1.0], eps=1e-30), X0, gradients)
    np.testing.assert_array_equal(path[1], X0)


def test_schedule_free_plus_conventions_differ_by_annealing_and_the_average():
    """The two conventions agree without either, and with each of them they don't."""
    values = np.full(len(GRADIENTS), 10.0)

    def apart(**arguments):
        paths = [
            trajectory(averaging.schedule_free_plus(values, 0.1, convention=name, **arguments), X0, GRADIENTS)
            for name in ("code", "paper")
        ]
        return disagreement(*paths)

    assert apart() == 0
    assert apart(polyak_beta=0.9) > 1e-3
    assert apart(sf_beta_anneal_steps=100) > 1e-6
