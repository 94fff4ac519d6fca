"""Multipliers by width and depth: the published tables, errors, and what they are for: updates of the same size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.scaling.common import BASE, WIDTH, M, mlp, shapes

# The rows of tables 3 and 8 of arXiv:2203.03466, as powers of the width: input weights and biases, output, hidden.
TABLE_3 = {"sgd": (1, -1, 0), "adam": (0, -1, -1)}
TABLE_8 = {"sgd": (1, 1, 0), "adam": (0, 0, -1)}


@pytest.mark.parametrize(("output", "table"), [("weights", TABLE_3), ("multiplier", TABLE_8)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lion"])
def test_multipliers_are_those_of_the_published_tables(output, table, optimizer):
    scales = lrx.scale_for_width(mlp(WIDTH), mlp(BASE), optimizer=optimizer, output=output)
    inputs, outputs, hidden = (M**power for power in table["sgd" if optimizer == "sgd" else "adam"])
    assert scales == {
        "first": {"w": inputs, "b": inputs},
        "hidden": {"w": hidden, "b": inputs},
        "last": {"w": outputs, "b": 1.0},
    }


def test_initial_values_are_those_of_the_published_tables():
    """Variances: 1 / fan_in, but 1 / fan_in² for the last layer in table 3 and a constant in table 8."""
    wide, base = mlp(WIDTH), mlp(BASE)
    for output, factor in (("weights", M**-0.5), ("multiplier", M**0.5)):
        for known in (base, shapes(mlp, BASE)):  # measured, and by shapes alone
            new = lrx.rescale_init(wide, known, output=output)
            np.testing.assert_allclose(new["last"]["w"], factor * wide["last"]["w"], rtol=1e-6)
            assert new["first"]["w"] is wide["first"]["w"] and new["hidden"]["w"] is wide["hidden"]["w"]
    assert lrx.output_multiplier(wide, base) == 1 / M


def test_muon_keeps_the_spectral_norm_of_relative_updates():
    """The update of an a x b matrix has the norm s; it should grow as the square root of b / a."""
    for a, b, growth_in, growth_out in [(8, 32, 1, 4), (32, 8, 4, 1), (32, 32, 4, 4), (64, 32, 2, 4), (16, 64, 4, 2)]:
        base, wide = {"w": jnp.zeros((a, b))}, {"w": jnp.zeros((a * growth_in, b * growth_out))}

        def norm(n, m):
            return max(1, m / n) ** 0.5

        got = lrx.scale_for_width(wide, base, optimizer="muon", axes="io")["w"] * norm(*wide["w"].shape) / norm(a, b)
        assert got == pytest.approx((growth_out / growth_in) ** 0.5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lion", "sgd", "muon"])
def test_nothing_that_grew_is_nothing_that_changes_and_growth_multiplies(optimizer):
    narrow, middle, wide = (shapes(mlp, width) for width in (16, 48, 96))

    def scale(a, b):
        return lrx.scale_for_width(a, b, optimizer=optimizer)

    assert set(jax.tree.leaves(scale(wide, wide))) == {1.0}
    chained = jax.tree.map(lambda x, y: x * y, scale(wide, middle), scale(middle, narrow))
    jax.tree.map(np.testing.assert_allclose, chained, scale(wide, narrow))
    backwards = jax.tree.map(lambda x, y: x * y, scale(wide, narrow), scale(narrow, wide))
    jax.tree.map(lambda x: np.testing.assert_allclose(x, 1.0), backwards)


MATRIX = {"w": jnp.zeros((8, 8))}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lrx.scale_for_width(MATRIX, {"v": jnp.zeros((4, 4))}), ValueError, "a difference in 'v'"),
        (lambda: lrx.scale_for_width(MATRIX, {"w": jnp.zeros(4)}), ValueError, r"\(4,\) and \(8, 8\)"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, optimizer="adagrad"), ValueError, "must be one of 'adam'"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, axes="xy"), ValueError, "`i` for inputs and `o` for outputs"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, axes=3), TypeError, "must be a string, or a tree of strings"),
        (
            lambda: lrx.scale_for_width(MATRIX, MATRIX, output="head"),
            ValueError,
            "must be one of 'weights', 'multiplier'",
        ),
        (
            lambda: lrx.scale_for_width({"kernel": jnp.zeros((12, 8, 8))}, {"kernel": jnp.zeros((6, 8, 8))}),
            ValueError,
            "axis 0 is neither an input nor an output",
        ),
        (lambda: lrx.scale_for_width({"w": jnp.zeros((0, 8))}, MATRIX), ValueError, "must have no empty arrays"),
        (
            lambda: lrx.output_multiplier(
                {"a": {"w": jnp.zeros((8, 2))}, "b": {"w": jnp.zeros((16, 2))}},
                {"a": {"w": jnp.zeros((4, 2))}, "b": {"w": jnp.zeros((4, 2))}},
            ),
            ValueError,
            "got 0.5 for 'a.w', 0.25 for 'b.w'",
        ),
        (lambda: lrx.scale_for_depth(0, 4), ValueError, r"scale_for_depth\(layers=...\) must be positive, got 0"),
        (lambda: lrx.scale_for_depth(8, 4, alpha=0.3), ValueError, r"alpha=...\) must be in \[0.5, 1\], got 0.3"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- what it is for


def change_of_activations(width, rate, tx_of, init=lambda p: p, steps=3):
    """How much a few updates change what each layer puts out, as the root of the mean square."""
    params = init(mlp(width, seed=1))
    tx = tx_of(rate, params)
    x = np.random.default_rng(2).normal(size=(16, 8)).astype(np.float32)
    y = np.random.default_rng(3).integers(0, 4, 16)

    def layers(p):
        first = jax.nn.relu(x @ p["first"]["w"] + p["first"]["b"])
        hidden = jax.nn.relu(first @ p["hidden"]["w"] + p["hidden"]["b"])
        return first, hidden, hidden @ p["last"]["w"] + p["last"]["b"]

    def loss(p):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(layers(p)[-1]), y[:, None], 1))

    @jax.jit
    def run(params, state):
        before = layers(params)
        for _ in range(steps):
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            params = lrx.apply_updates(params, updates)
        return layers(params), before

    after, before = run(params, tx.init(params))
    return [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in zip(after, before, strict=True)]


def test_updates_change_activations_by_the_same_amount_at_every_width():
    """The coordinate check of arXiv:2203.03466, section 2 and appendix D, from width 64 to 2,048."""
    base = shapes(mlp, 64)

    def mup(optimizer):
        return lambda rate, p: lrx.chain(
            getattr(lrx, optimizer)(rate), lrx.by_multiplier(lrx.scale_for_width(p, base, optimizer=optimizer))
        )

    for optimizer, rate in (("adam", 3e-3), ("sgd", 0.3)):
        sizes = np.array(
            [change_of_activations(w, rate, mup(optimizer), lambda p: lrx.rescale_init(p, base)) for w in (64, 2048)]
        )
        assert np.all(np.max(sizes, 0) / np.min(sizes, 0) < 1.5), (optimizer, sizes)
    usual = np.array([change_of_activations(w, 3e-3, lambda rate, p: lrx.adam(rate)) for w in (64, 2048)])
    assert np.all(usual[1, 1:] / usual[0, 1:] > 4), usual  # hidden and last layer


@pytest.mark.parametrize("decay_scaled", [True, False])
def test_weight_decay_in_both_conventions(decay_scaled):
    base, params = mlp(BASE), mlp(WIDTH)
    scales = lrx.by_multiplier(lrx.scale_for_width(params, base, optimizer="adamw"))
    if decay_scaled:
        tx = lrx.chain(lrx.adamw(0.5, weight_decay=0.1), scales)
    else:
        tx = lrx.chain(lrx.scale_by_adam(), scales, lrx.add_decayed_weights(0.1), lrx.scale_by_learning_rate(0.5))
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    factor = 1 / M if decay_scaled else 1.0
    np.testing.assert_allclose(updates["hidden"]["w"], -0.05 * factor * params["hidden"]["w"], rtol=1e-5)


def test_depth():
    """A branch's update adds 1/L of the change, with Adam (whose updates know no scale) and gradient descent."""
    for alpha in (0.5, 0.75, 1.0):
        adam, sgd = (lrx.scale_for_depth(48, 6, alpha=alpha, optimizer=name) for name in ("adam", "sgd"))
        assert 8 * adam.branch * adam.learning_rate == pytest.approx(1.0)
        assert 8 * sgd.branch * (sgd.learning_rate * sgd.branch) == pytest.approx(
            1.0
        )  # its gradient has the factor too
        assert adam.eps == pytest.approx(adam.branch) and sgd.eps == 1.0
    assert lrx.scale_for_depth(6, 6) == (1.0, 1.0, 1.0)
