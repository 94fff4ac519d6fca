"""The optimizers' references against optax in float64."""

import dataclasses
import functools
import inspect
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from tests.reference import optimizers
from tests.reference.compare import disagreement, random_problem
from tests.reference.optimizers import trajectory
from tests.reference.peer import decaying, optax_trajectories, optax_trajectory
from tests.reference.schedules import f32


@pytest.fixture
def float64(monkeypatch):
    """Let JAX compute in float64 for one test, Adafactor's decay rate, for which optax names float32, included."""
    in_float64 = functools.partial(
        optax.scale_by_factored_rms, decay_rate_fn=lambda count, exponent: 1.0 - (count + 1.0) ** -exponent
    )
    monkeypatch.setattr("optax._src.factorized.scale_by_factored_rms", in_float64)
    with jax.enable_x64(True):
        yield


def rising(count):
    """Return a hyperparameter that changes at every count, and stays below 1."""
    return 1 - 1.0 / (2 + count)


@dataclasses.dataclass(frozen=True)
class Case:
    """An optimizer's name and arguments, the shape of its leaf, and where optax has it."""

    name: str
    arguments: dict
    shape: tuple[int, ...] = (8,)
    peer: ModuleType = optax
    peer_arguments: dict = dataclasses.field(default_factory=dict)  # that the reference lacks

    def __str__(self):
        shown = [f"{key}={getattr(value, '__name__', value)}" for key, value in self.arguments.items()]
        return "-".join([self.name, *shown, *([] if self.shape == (8,) else [str(self.shape)])])


def adafactor(shape, **arguments):
    """Return a case of Adafactor that factors small sizes; optax's momentum is float32 unless told otherwise."""
    return Case("adafactor", {"min_dim_size_to_factor": 2} | arguments, shape, peer_arguments={"dtype_momentum": "f8"})


OPTIMIZERS = [
    Case("sgd", {"learning_rate": 0.1}),
    Case("sgd", {"learning_rate": decaying}),
    Case("sgd", {"learning_rate": 0.1, "momentum": 0.9}),
    Case("sgd", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True}),
    Case("adagrad", {"learning_rate": 0.1}),
    Case("adagrad", {"learning_rate": decaying, "initial_accumulator_value": 0.0, "eps": 1e-3}),
    Case("adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 0.0}),
    Case("rmsprop", {"learning_rate": 0.1}),
    Case("rmsprop", {"learning_rate": 0.1, "decay": 0.95, "eps": 1e-2, "initial_scale": 1.0}),
    Case("rmsprop", {"learning_rate": 0.1, "eps": 1e-2, "eps_in_sqrt": False}),
    Case("rmsprop", {"learning_rate": 0.1, "centered": True}),
    Case("rmsprop", {"learning_rate": 0.1, "eps": 1e-2, "eps_in_sqrt": False, "centered": True}),
    Case("rmsprop", {"learning_rate": decaying, "momentum": 0.9}),
    Case("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True}),
    Case("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "centered": True}),
    Case("rmsprop", {"learning_rate": 0.1, "bias_correction": True}),
    # Step 1 divides by √(ε + g² − g²), whose difference is all rounding: compare only with an ε above that.
    Case("rmsprop", {"learning_rate": 0.1, "eps": 1.0, "centered": True, "bias_correction": True}),
    Case("adam", {"learning_rate": 0.1}),
    Case("adam", {"learning_rate": decaying, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "eps_root": 1e-3}),
    Case("adam", {"learning_rate": 0.1, "nesterov": True}),
    Case("adamw", {"learning_rate": 0.1}),
    Case("adamw", {"learning_rate": decaying, "weight_decay": 0.3, "nesterov": True}),
    Case("adadelta", {"learning_rate": 1.0}),
    Case("adadelta", {"learning_rate": decaying, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.3}),
    Case("adamax", {"learning_rate": 0.1}),
    Case("adamax", {"learning_rate": decaying, "b1": 0.8, "b2": 0.5, "eps": 1e-2}),
    Case("adamaxw", {"learning_rate": 0.1, "weight_decay": 0.3}),
    Case("nadam", {"learning_rate": 0.1}),
    Case("nadamw", {"learning_rate": decaying, "b1": 0.8, "eps_root": 1e-3, "weight_decay": 0.3}),
    Case("amsgrad", {"learning_rate": 0.1, "b2": 0.9}),
    Case("amsgrad", {"learning_rate": decaying, "eps": 1e-2, "eps_root": 1e-3, "bias_correction_mu": False}),
    Case("amsgrad", {"learning_rate": 0.1, "b2": 0.9, "bias_correction_nu": False}),
    Case("radam", {"learning_rate": 0.1}),
    Case("radam", {"learning_rate": decaying, "b2": 0.9, "eps": 1e-2, "eps_root": 1e-3, "threshold": 6.5}),
    Case("radam", {"learning_rate": 0.1, "nesterov": True}),
    Case("adabelief", {"learning_rate": 0.1}),
    Case("adabelief", {"learning_rate": decaying, "eps": 1e-2, "eps_root": 1e-3, "nesterov": True}),
    Case("yogi", {"learning_rate": 0.1}),
    Case("yogi", {"learning_rate": decaying, "b1": 0.8, "b2": 0.9, "eps": 1e-2}),
    Case("adan", {"learning_rate": 0.1}),
    Case("adan", {"learning_rate": decaying, "b2": 0.7, "eps": 1e-2, "eps_root": 0.0, "weight_decay": 0.3}),
    Case("adopt", {"learning_rate": 0.1}, peer=optax.contrib),
    Case("adopt", {"learning_rate": decaying, "eps": 1.0, "nesterov": True}, peer=optax.contrib),
    # Without a clip the coordinate without a first gradient is divided by ε.
    Case("adopt", {"learning_rate": 0.1, "b2": 0.9, "use_clipping": False}, peer=optax.contrib),
    Case("adopt", {"learning_rate": 0.1, "clip_value_fn": rising}, peer=optax.contrib),
    Case("ademamix", {"learning_rate": 0.1}, peer=optax.contrib),
    Case(
        "ademamix",
        {"learning_rate": decaying, "b3": rising, "alpha": decaying, "eps_root": 1e-3, "weight_decay": 0.3},
        peer=optax.contrib,
    ),
    Case("sign_sgd", {"learning_rate": decaying}),
    Case("signum", {"learning_rate": 0.1}),
    Case("signum", {"learning_rate": decaying, "beta": 0.5}),
    Case("lion", {"learning_rate": 0.1}),
    Case("lion", {"learning_rate": decaying, "b1": 0.5, "b2": 0.8, "weight_decay": 0.3}),
    Case("rprop", {"learning_rate": 0.1}),
    Case("rprop", {"learning_rate": 0.1, "eta_minus": 0.3, "eta_plus": 3.0, "max_step_size": 0.3}),
    Case("lars", {"learning_rate": 0.1}),
    Case("lars", {"learning_rate": decaying, "weight_decay": 0.3, "trust_coefficient": 1.0, "eps": 0.1}, (4, 2)),
    Case("lars", {"learning_rate": 0.1, "trust_coefficient": 0.1, "momentum": 0.5, "nesterov": True}, (2, 2, 2)),
    Case("lamb", {"learning_rate": 0.1}),
    Case("lamb", {"learning_rate": decaying, "b1": 0.8, "eps_root": 1e-3, "weight_decay": 0.3}, (4, 2)),
    Case("novograd", {"learning_rate": 0.1}),
    Case("novograd", {"learning_rate": decaying, "b2": 0.9, "eps_root": 1e-3, "weight_decay": 0.3}, (4, 2)),
    adafactor((4, 2)),
    adafactor((2, 4), learning_rate=0.1, decay_rate=0.5),
    adafactor((3, 2, 4), learning_rate=decaying, momentum=0.9, weight_decay_rate=0.01),
    adafactor((4, 3, 2), learning_rate=0.1, clipping_threshold=None, eps=1e-3),
    adafactor((4, 2), learning_rate=0.1, min_dim_size_to_factor=3),
    adafactor((4, 2), learning_rate=0.1, factored=False, multiply_by_parameter_scale=False, clipping_threshold=0.5),
    adafactor((8,), learning_rate=0.1, momentum=0.5, decay_offset=-3),
    Case("sm3", {"learning_rate": 0.1}),
    Case("sm3", {"learning_rate": 0.1, "momentum": 0.5}, (4, 2)),
    Case("sm3", {"learning_rate": 0.1}, (3, 2, 4)),
]


def rounded(arguments):
    """Round every float among the arguments to float32, as the references do themselves."""
    return {key: f32(value) if isinstance(value, float) else value for key, value in arguments.items()}


def optax_optimizer(case):
    """Return optax's optimizer. It must be given its defaults too, rounded to float32."""
    bound = inspect.signature(getattr(optimizers, case.name)).bind(**case.arguments)
    bound.apply_defaults()
    make = getattr(case.peer, case.name)
    lacks = set(bound.arguments) - set(inspect.signature(make).parameters)
    assert not lacks & set(case.arguments)
    arguments = {key: value for key, value in bound.arguments.items() if key not in lacks}
    return make(**rounded(arguments), **case.peer_arguments)


PROGRAMS = 4


@functools.cache
def paths_of_optax(part):
    """The paths of a part of the list, for tests with `float64`."""
    cases = {i: OPTIMIZERS[i] for i in range(part, len(OPTIMIZERS), PROGRAMS)}
    return optax_trajectories({i: (optax_optimizer(case), *random_problem(case.shape)) for i, case in cases.items()})


@pytest.mark.parametrize("i", range(len(OPTIMIZERS)), ids=lambda i: str(OPTIMIZERS[i]))
def test_optimizer_is_optax_in_float64(i, float64):
    """Every optimizer is optax's, on gradients of many scales and exact zeros."""
    case = OPTIMIZERS[i]
    ours = trajectory(getattr(optimizers, case.name)(**case.arguments), *random_problem(case.shape))
    theirs = paths_of_optax(i % PROGRAMS)[i]
    assert ours.dtype == theirs.dtype == np.float64
    assert disagreement(ours, theirs) < 1e-12


def test_adafactor_decay_rate_is_float32_in_optax():
    """Of optax's Adafactor nothing but the decay rate is float32: the difference is of that size, and not there above.

    (The fixture that replaces the decay rate is not used here.)
    """
    case = adafactor((4, 2), learning_rate=0.1)
    x0, gradients = random_problem(case.shape)
    ours = trajectory(optimizers.adafactor(**case.arguments), x0, gradients)
    with jax.enable_x64(True):
        theirs = optax_trajectory(optax_optimizer(case), x0, gradients)
    assert 1e-12 < disagreement(ours, theirs) < 1e-6


# ---------------------------------------------------------------- composition


CLIPS = {
    "clip": (optimizers.clip(2.0), optax.clip(2.0)),
    "clip_by_block_rms": (optimizers.clip_by_block_rms(2.0), optax.clip_by_block_rms(2.0)),
    "adaptive_grad_clip": (optimizers.adaptive_grad_clip(0.5), optax.adaptive_grad_clip(0.5, f32(1e-3))),
}
SHAPES = [(8,), (4, 2), (1, 8), (2, 2, 2), (2, 1, 2, 2), (1, 2, 1, 2, 2)]


@functools.cache
def paths_of_optax_clipped():
    """By name and shape, for tests with `float64`."""
    txs = {name: optax.chain(theirs, optax.sgd(f32(0.1))) for name, (_, theirs) in CLIPS.items()}
    return optax_trajectories({(name, s): (tx, *random_problem(s)) for name, tx in txs.items() for s in SHAPES})


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_clip_is_optax_in_float64(name, shape, float64):
    """Every clip, followed by gradient descent, is optax's."""
    ours = trajectory(optimizers.clipped(0.1, CLIPS[name][0]), *random_problem(shape))
    assert disagreement(ours, paths_of_optax_clipped()[name, shape]) < 1e-12


@pytest.mark.parametrize("reset_state", [False, True])
def test_lookahead_is_optax_in_float64(reset_state, float64):
    """Both the fast and the slow parameters are optax's."""
    x0, gradients = random_problem()
    fast = trajectory(
        optimizers.lookahead(0.1, optimizers.adam_directions(), 6, 0.3, reset_state=reset_state), x0, gradients
    )
    inner = optax.adam(f32(0.1), f32(0.9), f32(0.999), f32(1e-8))
    theirs = optax_trajectory(
        optax.lookahead(inner, 6, f32(0.3), reset_state=reset_state), optax.LookaheadParams(x0, x0), gradients
    )
    assert disagreement(fast, theirs.fast) < 1e-12
    slow = fast[np.arange(len(fast)) // 6 * 6]
    assert disagreement(slow, theirs.slow) < 1e-12


def test_accumulation_is_optax_in_float64(float64):
    """200 gradients in groups of 6, of which the last is not complete."""
    x0, gradients = random_problem()
    ours = trajectory(optimizers.accumulate(optimizers.adamw(0.1, weight_decay=0.3), 6), x0, gradients)
    inner = optax.adamw(f32(0.1), f32(0.9), f32(0.999), f32(1e-8), weight_decay=f32(0.3))
    theirs = optax_trajectory(optax.MultiSteps(inner, 6, accumulator_dtype=jnp.float64), x0, gradients)
    assert disagreement(ours, theirs) < 1e-12


def test_ema_of_parameters_is_optax_in_float64(float64):
    """optax's `ema` of x_1, x_2, … with the correction, and `incremental_update` from x_0 without."""
    path = np.cumsum(random_problem()[1], axis=0)
    corrected = optimizers.ema_of_parameters(path, 0.9, debias=True)
    ema = optax.ema(f32(0.9))
    state = ema.init(jnp.asarray(path[0]))
    plain = optimizers.ema_of_parameters(path, 0.9, debias=False)
    old = path[0]
    np.testing.assert_array_equal(corrected[0], path[0])
    np.testing.assert_array_equal(plain[0], path[0])
    for t, x in enumerate(path[1:], start=1):
        theirs, state = ema.update(jnp.asarray(x), state)
        np.testing.assert_allclose(corrected[t], theirs, rtol=1e-12, atol=1e-12)
        old = optax.incremental_update(jnp.asarray(x), old, 1 - f32(0.9))
        np.testing.assert_allclose(plain[t], old, rtol=1e-12, atol=1e-12)
