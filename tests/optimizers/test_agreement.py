"""Every optimizer against two others: optax's, and a float64 loop in NumPy. Torch's are in a file of their own.

Differences are per coordinate and relative to the distance that the coordinate travelled. Coordinates start at 0
(their own rounding would be all that is left of a comparison otherwise) and their gradients have scales from 1e-2 to
1e2, with exact zeros among them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import lrx
from tests.common import PARAMS, has_optax, needs_optax, one_step, scan
from tests.reference import optimizers as reference
from tests.reference import schedules
from tests.reference.compare import disagreement, paths_together
from tests.reference.loop import descend

pytestmark = pytest.mark.real_compiler

STEPS = 1000


def decaying(count):
    return 0.01 * 100 / (100 + count)


def slowly(count):
    return 1.0 + 0.01 * count


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """An optimizer's arguments besides the rate of 0.01, the shape of its leaf, and where optax has it."""

    name: str
    arguments: dict = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = (8,)
    peer: ModuleType | None = optax
    peer_bound: float = 5e-5
    peer_since: str = "0.2.5"
    """The version in which optax has these arguments first."""

    def __str__(self):
        shown = [f"{key}={getattr(value, '__name__', value)}" for key, value in self.arguments.items()]
        return "-".join([self.name, *shown, *([] if self.shape == (8,) else [str(self.shape)])])

    def make(self, library):
        return getattr(library, self.name)(**{"learning_rate": 0.01, **self.arguments})

    def gradients(self):
        return random_gradients(math.prod(self.shape)).reshape(STEPS, *self.shape)

    @property
    def path(self):
        return paths(lrx, CASES.index(self) % PROGRAMS)[self]

    @property
    def path_of_peer(self):
        return paths(self.peer, CASES.index(self) % PROGRAMS)[self]


NEAR_ONE = 5e-4  # optax forms 1 - b**t in float32, which costs digits where b is more than .999

CASES = [
    Case("sgd"),
    Case("sgd", {"learning_rate": decaying}),
    Case("sgd", {"momentum": 0.9}),
    Case("sgd", {"momentum": 0.9, "nesterov": True}),
    Case("adagrad"),
    Case("adagrad", {"initial_accumulator_value": 0.0}),
    Case("rmsprop"),
    Case("rmsprop", {"decay": 0.99, "eps": 1e-3, "eps_in_sqrt": False, "initial_scale": 1.0}),
    Case("rmsprop", {"bias_correction": True}),
    Case("rmsprop", {"centered": True}),
    Case("rmsprop", {"centered": True, "eps_in_sqrt": False}),
    # optax subtracts the squares of step 1, whose difference is all rounding: ε must not be below that
    Case("rmsprop", {"centered": True, "bias_correction": True, "eps": 1.0}, peer_bound=5e-4),
    Case("rmsprop", {"learning_rate": decaying, "momentum": 0.9}),
    Case("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True, "centered": True}),
    Case("adam"),
    Case("adam", {"b1": 0.0, "eps": 1e-3}),
    Case("adam", {"b1": 0.95, "b2": 0.9999}, peer_bound=NEAR_ONE),
    Case("adam", {"learning_rate": decaying, "b2": 0.95, "eps_root": 1e-6}),
    Case("adam", {"nesterov": True}),
    Case("adamw", {"weight_decay": 0.1}),
    Case("adamw", {"learning_rate": decaying, "weight_decay": 0.3, "nesterov": True}),
    Case("adadelta", {"learning_rate": 1.0}),
    Case("adadelta", {"learning_rate": decaying, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.3}),
    Case("adamax"),
    Case("adamaxw", {"learning_rate": decaying, "b1": 0.8, "b2": 0.5, "eps": 1e-2, "weight_decay": 0.3}),
    Case("nadam"),
    Case("nadam", {"momentum_decay": 0.004}, peer=None),
    Case("nadamw", {"learning_rate": decaying, "b1": 0.8, "eps_root": 1e-3, "weight_decay": 0.3}),
    Case("nadamw", {"b2": 0.95, "weight_decay": 0.3, "momentum_decay": 0.1}, peer=None),
    Case("amsgrad", {"b2": 0.9}),
    Case(
        "amsgrad",
        {"learning_rate": decaying, "eps": 1e-2, "eps_root": 1e-3, "bias_correction_mu": False},
        peer_since="0.2.7",
    ),
    Case("amsgrad", {"b2": 0.9, "bias_correction_nu": False}, peer_since="0.2.7"),
    Case("amsgrad", {"convention": "torch"}, peer=None),
    Case("radam"),
    Case("radam", {"learning_rate": decaying, "b2": 0.9, "eps_root": 1e-3, "threshold": 6.5, "nesterov": True}),
    Case("adabelief"),
    Case("adabelief", {"learning_rate": decaying, "eps": 1e-2, "eps_root": 1e-3, "nesterov": True}),
    Case("yogi"),
    Case("yogi", {"learning_rate": decaying, "b1": 0.8, "b2": 0.9, "eps": 1e-2}),
    Case("adan"),
    Case("adan", {"learning_rate": decaying, "b2": 0.7, "eps_root": 0.0, "weight_decay": 0.3}),
    Case("adan", {"convention": "paper"}, peer=None),
    Case("adopt", peer=optax.contrib, peer_bound=NEAR_ONE),
    Case("adopt", {"b2": 0.99, "nesterov": True, "clip_value_fn": slowly}, peer=optax.contrib),
    Case("ademamix", peer=optax.contrib, peer_bound=NEAR_ONE),
    Case(
        "ademamix",
        {"learning_rate": decaying, "b3": 0.99, "alpha": decaying, "eps_root": 1e-3, "weight_decay": 0.3},
        peer=optax.contrib,
    ),
    Case("mars", {"gamma": 0.025}, peer=None),
    Case("mars", {"learning_rate": decaying, "b1": 0.9, "gamma": 0.5, "weight_decay": 0.3}, (4, 2), peer=None),
    Case("adam_mini", peer=None),
    Case("adam_mini", {"learning_rate": decaying, "b2": 0.95, "weight_decay": 0.3}, (4, 2), peer=None),
    Case("sign_sgd", {"learning_rate": decaying}),
    Case("signum", peer_since="0.2.7"),
    Case("lion"),
    Case("lion", {"learning_rate": decaying, "b1": 0.5, "b2": 0.8, "weight_decay": 0.3}),
    Case("rprop"),
    Case("rprop", {"eta_minus": 0.8, "max_step_size": 0.1, "convention": "paper"}, peer=None),
    Case("lars", {"trust_coefficient": 0.1, "nesterov": True}),
    Case("lars", {"learning_rate": decaying, "weight_decay": 0.3, "trust_coefficient": 1.0, "eps": 0.1}, (4, 2)),
    Case("lamb"),
    Case("lamb", {"learning_rate": decaying, "b1": 0.8, "eps_root": 1e-3, "weight_decay": 0.3}, (4, 2)),
    Case("novograd"),
    Case("novograd", {"learning_rate": decaying, "b2": 0.9, "eps_root": 1e-3, "weight_decay": 0.3}, (4, 2)),
    Case("adafactor", {"min_dim_size_to_factor": 2}, (4, 2)),
    Case("adafactor", {"min_dim_size_to_factor": 2, "momentum": 0.9, "clipping_threshold": None}, (3, 2, 4)),
    Case("adafactor", {"learning_rate": None, "multiply_by_parameter_scale": False}),
    Case("adafactor", {"learning_rate": decaying, "decay_rate": 0.5, "weight_decay_rate": 1e-3}),
    Case("sm3"),
    Case("sm3", {"momentum": 0.5}, (3, 2, 4)),
    # optax forms s / (1 − b2^t) with a difference of float32 numbers
    Case("acprop", peer=optax.contrib, peer_bound=NEAR_ONE),
    Case("acprop", {"learning_rate": decaying, "b2": 0.9, "eps_root": 1e-3, "weight_decay": 0.3}, peer=optax.contrib),
    Case("simplified_ademamix", peer=optax.contrib),
    Case(
        "simplified_ademamix",
        {"learning_rate": decaying, "b1": 0.9, "alpha": decaying, "eps_root": 1e-3, "weight_decay": 0.3},
        peer=optax.contrib,
        peer_since="0.2.7",
    ),
    Case("madgrad", peer=optax.contrib, peer_since="0.2.7"),
    Case(
        "madgrad",
        {"learning_rate": decaying, "momentum": 0.5, "weight_decay": 0.1},
        peer=optax.contrib,
        peer_since="0.2.7",
    ),
    Case("muon", {"learning_rate": decaying}, (4, 2), peer=optax.contrib),
    Case(
        "muon",
        {"ns_coeffs": "dion", "consistent_rms": 0.2, "weight_decay": 0.3},
        (3, 5),
        peer=optax.contrib,
        peer_since="0.2.8",
    ),
    Case("muon", {"preconditioning": "aol", "nesterov": False}, (4, 2), peer=optax.contrib, peer_since="0.2.8"),
    Case(
        "muon",
        {"preconditioning": "spectral", "ns_steps": 3, "adaptive": True},
        (2, 4),
        peer=optax.contrib,
        peer_since="0.2.8",
    ),
]
every = pytest.mark.parametrize("case", CASES, ids=str)
PROGRAMS = 3


@functools.cache
def paths(library, part):
    """The paths of the cases of a part of the list that a library has, from one program."""
    cases = [c for c in CASES[part::PROGRAMS] if library is lrx or (library is c.peer and has_optax(c.peer_since))]
    return paths_together({c: (c.make(library), np.zeros(c.shape, np.float32), c.gradients()) for c in cases})


def random_gradients(size=8):
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((STEPS, size)) * np.logspace(-2, 2, size)
    gradients[rng.random(gradients.shape) < 0.05] = 0
    gradients[:3, 0] = 0  # a coordinate that starts without a gradient
    return gradients.astype(np.float32)


def run(tx, gradients):
    return paths_together({"": (tx, np.zeros(gradients.shape[1:], np.float32), gradients)})[""]


def reference_path(make, gradients):
    return reference.trajectory(make, np.zeros(gradients.shape[1:]), gradients)


@every
def test_a_thousand_steps_are_those_of_the_float64_loop(case):
    expected = reference_path(case.make(reference), case.gradients())
    assert disagreement(expected, case.path) < 2e-6


@pytest.mark.parametrize("case", [case for case in CASES if case.peer is not None], ids=str)
def test_a_thousand_steps_are_those_of_optax(case):
    needs_optax(case.peer_since)
    assert disagreement(case.path, case.path_of_peer) < case.peer_bound


@dataclasses.dataclass(frozen=True, eq=False)
class Composition:
    """What is put around an optimizer in lrx, and in the reference."""

    name: str
    ours: Callable[[], optax.GradientTransformation]
    expected: Callable[[], Callable]
    shape: tuple[int, ...] = (8,)

    def __str__(self):
        return self.name

    def gradients(self):
        return random_gradients().reshape(STEPS, *self.shape)


def clipped(name, *arguments, shape=(8,)):
    return Composition(
        name,
        lambda: lrx.chain(getattr(lrx, name)(*arguments), lrx.sgd(0.01)),
        lambda: reference.clipped(0.01, getattr(reference, name)(*arguments)),
        shape,
    )


def decayed(weight_decay, **law):
    return Composition(
        f"decayed {law['law']}",
        lambda: lrx.with_weight_decay(lrx.adam(decaying), weight_decay, **law),
        lambda: descend(decaying, reference.adam_directions(), weight_decay, **law),
    )


def lookahead(**reset):
    return Composition(
        f"lookahead {reset}",
        lambda: lrx.lookahead(lrx.adam(0.01), 6, 0.3, **reset),
        lambda: reference.lookahead(0.01, reference.adam_directions(), 6, 0.3, **reset),
    )


COSINE = {"init_value": 0.02, "decay_steps": STEPS}
COMPOSITIONS = [
    clipped("clip", 2.0),
    clipped("clip_by_block_rms", 2.0, shape=(4, 2)),
    clipped("adaptive_grad_clip", 0.5, shape=(4, 2)),
    decayed(0.3, law="rate"),
    decayed(0.003, law="independent"),
    decayed(0.3, law="rate", cautious=True),
    Composition(
        "adamw with cautious decay",
        lambda: lrx.adamw(0.01, weight_decay=0.3, cautious_decay=True),
        lambda: descend(0.01, reference.adam_directions(), 0.3, cautious=True),
    ),
    decayed(0.3, law="squared", max_learning_rate=0.01),
    lookahead(reset_state=False),
    lookahead(reset_state=True),
    Composition(
        "cautious",
        lambda: lrx.cautious(lrx.adam(0.01)),
        lambda: descend(0.01, reference.cautious(reference.adam_directions())),
    ),
    Composition(
        "normalize",
        lambda: lrx.chain(lrx.normalize(), lrx.sgd(0.01)),
        lambda: descend(0.01, reference.normalize),
    ),
    Composition(
        "accumulate",
        lambda: lrx.accumulate(lrx.adamw(0.01, weight_decay=0.3), 6),
        lambda: reference.accumulate(reference.adamw(0.01, weight_decay=0.3), 6),
    ),
    # each count has the rate of its own; the reference is given the float64 schedule, the optimizer the float32 one
    Composition(
        "schedule",
        lambda: lrx.adam(lrx.cosine_decay_schedule(**COSINE)),
        lambda: reference.adam(lambda count: schedules.cosine_decay_schedule(count, **COSINE)),
    ),
]


@functools.cache
def paths_of_compositions():
    return paths_together({c: (c.ours(), np.zeros(c.shape, np.float32), c.gradients()) for c in COMPOSITIONS})


@pytest.mark.parametrize("composition", COMPOSITIONS, ids=str)
def test_a_composition_is_that_of_the_float64_loop(composition):
    expected = reference_path(composition.expected(), composition.gradients())
    assert disagreement(expected, paths_of_compositions()[composition]) < 2e-6


def warmed_decay(count):
    """As TensorFlow's and Keras's averages have it with `num_updates`."""
    rising = (1 + count) / (10 + count)
    return np.minimum(0.99, rising) if isinstance(count, int) else jnp.minimum(0.99, rising)


DECAYS = {"constant": 0.99, "scheduled": warmed_decay}


@functools.cache
def averages():
    """The averages on the way of every decay, plain and debiased, from one program."""
    start = jnp.zeros(8)
    txs = {
        (name, debias): lrx.chain(lrx.adam(0.01), lrx.params_ema(decay, debias=debias))
        for name, decay in DECAYS.items()
        for debias in (False, True)
    }

    def body(carries, g):
        carries = {k: one_step(tx, *carries[k], g) for k, tx in txs.items()}
        return carries, {k: lrx.eval_params(state, params) for k, (params, state) in carries.items()}

    return jax.lax.scan(body, {k: (start, tx.init(start)) for k, tx in txs.items()}, random_gradients())[1]


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
def test_average_of_the_parameters_is_that_of_the_float64_loop(decay, debias):
    path = reference_path(reference.adam(0.01), random_gradients())
    expected = reference.ema_of_parameters(path, DECAYS[decay], debias=debias)[1:]
    assert disagreement(expected, averages()[decay, debias], whole_path=path) < 2e-6


def test_kahan_sum_is_that_of_the_float64_loop():
    """To the bit: both round x and c to bfloat16 once a step, and what float32 rounds before that decides none here."""
    updates = (1e-3 * random_gradients()).astype(jnp.bfloat16)

    def body(carry, u):
        params, compensation = lrx.apply_updates(carry[0], u, rounding="kahan", compensation=carry[1])
        return (params, compensation), params

    start = jnp.linspace(-2, 2, 8, dtype=jnp.bfloat16)
    path = jax.lax.scan(body, (start, jnp.zeros_like(start)), updates)[1]
    expected = reference.kahan_sum(start, updates, jnp.bfloat16)[1:]
    np.testing.assert_array_equal(path, expected)


def test_masked_weight_decay_is_that_of_optax():
    gradients = jax.tree.map(lambda p: random_gradients(p.size).reshape(STEPS, *p.shape), PARAMS)
    mask = {"w": True, "b": False}
    path = scan(lrx.adamw(0.01, weight_decay=0.3, mask=mask), PARAMS, gradients)
    theirs = scan(optax.adamw(0.01, weight_decay=0.3, mask=mask), PARAMS, gradients)
    for k in PARAMS:
        ours = np.asarray(path[k], np.float64).reshape(STEPS + 1, -1)
        assert disagreement(ours, np.asarray(theirs[k], np.float64).reshape(STEPS + 1, -1)) < 5e-5


COMPLEX = [(library, name) for library in (lrx, optax) for name in ("sgd", "adagrad", "rmsprop", "adam")]


@functools.cache
def complex_paths():
    rng = np.random.default_rng(0)
    gradients = (rng.standard_normal((50, 4)) + 1j * rng.standard_normal((50, 4))).astype(np.complex64)
    start = np.zeros(4, np.complex64)
    run = jax.jit(lambda start, g: [scan(getattr(library, name)(0.01), start, g) for library, name in COMPLEX])
    return dict(zip(COMPLEX, run(start, gradients), strict=True))


@pytest.mark.parametrize("name", [name for library, name in COMPLEX if library is lrx])
def test_complex_gradients_are_treated_as_by_optax(name):
    ours, theirs = (complex_paths()[library, name] for library in (lrx, optax))
    assert ours.dtype == jnp.complex64
    travelled = np.abs(np.diff(ours, axis=0)).sum(axis=0)
    assert np.max(np.abs(ours - theirs).max(axis=0) / travelled) < 5e-5


def test_optax_1532_one_code_path_for_constant_and_scheduled_rates():
    gradients = random_gradients()[:50]
    constant, scheduled = (run(lrx.adam(rate), gradients) for rate in (0.01, lrx.constant_schedule(0.01)))
    np.testing.assert_array_equal(constant, scheduled)
