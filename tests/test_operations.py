"""What `by_operations` gives is what `jax.jit` gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.common import avals
from tests.operations import NUMPY, by_operations

X = np.array([[0.5, -1.5, 2.0], [3.0, 0.0, -0.25]], np.float32)
N = np.array([7, -7, 0], np.int32)


def elementary(x, n):
    """Every operation that NumPy has the name of."""
    size = jnp.abs(x) + 1
    floats = [jnp.sign(x), jnp.sqrt(size), jnp.cbrt(x), jnp.square(x), jnp.exp(x), jnp.log(size), jnp.log1p(size)]
    floats += [jnp.expm1(x), jnp.sin(x), jnp.cos(x), jnp.tanh(x), jnp.floor(x), jnp.ceil(x), jnp.copy(x), -x]
    floats += [x + size, x - size, x * size, x / size, size**x, size**3, jax.lax.rsqrt(size), jnp.fmod(x, size)]
    floats += [jnp.maximum(x, 0.1), jnp.minimum(x, 0.1), jnp.where(x > 0, x, 2), jnp.clip(x, -1, 1)]
    z = x + 1j * size
    tests = [jnp.isfinite(1 / x), x == 0, x != 0, x < 0, x <= 0, x > 0, x >= 0, (x > 0) & (size < 2), ~(x > 0)]
    ints = [n // 2, jax.lax.div(n, np.int32(2)), jax.lax.rem(n, np.int32(4)), n ^ 3, n | 8, x.astype(jnp.int32)]
    ints += [n << 2, jax.lax.shift_right_arithmetic(n, np.int32(1)), jax.lax.shift_right_logical(n, np.int32(3))]
    ints += [jax.lax.bitcast_convert_type(x, jnp.int32), jax.lax.bitcast_convert_type(n, jnp.float32)]
    ints += [jax.lax.bitcast_convert_type(x, jnp.uint16)]
    floats += [jnp.exp2(x), jnp.round(x), jax.lax.round(x)]
    narrow = [x.astype(jnp.bfloat16) * jnp.bfloat16(0.3), x.astype(jnp.float16) + n.astype(jnp.float16)]
    return floats, [z * jnp.conj(z), jnp.real(z), jnp.imag(z)], [*tests, (x > 0) | (x < -1)], ints, narrow


def shapes(x, n):
    """Shapes, sums, and what is left to JAX."""
    which = jax.lax.select_n(jnp.abs(n) % 3, n, n + 1, n + 2)
    rows = [x.reshape(3, 2), x.T, x[None, :, None], x[:1].squeeze(0), jnp.concatenate([x, x], 1), x + n]
    sums = [x.sum(), x.sum(1), x.max(0), x.min(), (x > 0).all(1), (x > -2).all(), (x > 2).any(), x.mean(0)]
    sums += [
        x[:0].max(1),
        jnp.max(x[:0], 0, initial=1),
        jnp.max(x[:0], 0, initial=-jnp.inf),
        x[:0].sum(0),
        (x[:0] > 0).all(0),
    ]
    return rows, sums, which, x @ x.T, jnp.sort(x, 1), jax.random.normal(jax.random.key(3), (2,))


@jax.custom_batching.custom_vmap
def doubled(x):
    return 2 * x


@doubled.def_vmap
def doubled_batch(size, batched, x):
    return doubled(x), True


def control(x, n):
    """Loops, conditions and functions with a rule of their own."""
    ran = jax.lax.scan(lambda c, row: (c + row, c * row), x[0], x, reverse=True)
    last = jax.lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] * 0.5), (n[0] - 7, x))
    return (
        doubled(x),
        ran,
        last,
        jax.lax.cond(n[0] > 0, lambda: x, lambda: -x),
        jax.lax.switch(n[2], [lambda: 1 * n, lambda: 2 * n]),
    )


def batch(x, n):
    """A loop that ends at another turn for each member of a batch."""
    halved = lambda a: jax.lax.while_loop(lambda c: jnp.abs(c).max() > 0.3, lambda c: c * 0.5, a)  # noqa: E731
    return jax.vmap(halved)(x), jax.vmap(lambda a: jax.lax.cond(a > 0, jnp.sqrt, jnp.square, a))(x[0])


def slopes(x, n):
    """Derivatives."""
    return jax.grad(lambda x: jax.lax.scan(lambda c, row: (jnp.tanh(c * row), None), x[0], x)[0].sum())(x)


@pytest.mark.parametrize("function", [elementary, shapes, control, batch, slopes])
def test_it_gives_what_jit_gives(function):
    ours, expected = by_operations(function)(X, N), jax.jit(function)(X, N)
    assert avals(ours) == avals(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6), ours, expected)


def test_everything_that_numpy_runs_is_asked():
    asked = set()

    def look(jaxpr):
        for equation in jaxpr.eqns:
            asked.add(equation.primitive.name)
            for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "jaxpr")):
                if hasattr(inner, "jaxpr"):
                    look(inner.jaxpr)

    for function in (elementary, shapes, control, batch, slopes):
        look(jax.make_jaxpr(function)(X, N).jaxpr)
    assert set(NUMPY) <= asked


def test_a_function_is_traced_once_for_arguments_of_the_same_types():
    traced = []
    double = by_operations(lambda x: (traced.append(1), 2 * x)[1])
    np.testing.assert_array_equal(double(N), 2 * N)
    np.testing.assert_array_equal(double(N + 1), 2 * N + 2)
    assert len(traced) == 1
    assert double(X).dtype == jnp.float32
    assert len(traced) == 2


def test_debug_nans_is_heard():
    root = by_operations(lambda x: {"root": jnp.sqrt(x), "count": N})
    assert np.isnan(root(-X[0])["root"]).any()
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="not a number"):
        root(-X[0])


def test_what_acts_is_run_each_time_and_what_depends_on_no_argument_once():
    seen, made = [], []

    def table():
        made.append(1)
        return np.float32(3)

    def function(x):
        jax.debug.callback(seen.append, x)
        return x + jax.pure_callback(table, jax.ShapeDtypeStruct((), jnp.float32))

    triple = by_operations(function)
    assert [float(triple(np.float32(x))) for x in (1, 2)] == [4, 5]
    assert [float(x) for x in seen] == [1, 2]
    assert len(made) == 1
