"""Problems that hold their data and code in every kind of place, and what each is recognised by."""

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx.tuning._digest import arguments_of
from tests.tuning.bowl import bowl


class Table:
    """A callable object with data."""

    def __init__(self, data):
        self.data = data

    def __call__(self, x):
        return x * np.asarray(self.data).sum()

    def method(self, x):
        return self(x)


def called_back(function):
    return lambda x: jax.pure_callback(function, jax.ShapeDtypeStruct((2,), jnp.float32), x)


def with_vjp(forward, backward):
    f = jax.custom_vjp(lambda x: x * forward)
    f.defvjp(lambda x: (f(x), None), lambda _, g: (g * backward,))
    return f


def with_jvp(forward, tangent):
    f = jax.custom_jvp(lambda x: x * forward)
    f.defjvp(lambda x, t: (f(*x), t[0] * tangent))
    return f


def stopped(inner):
    """Callbacks have no derivative."""
    return lambda x: x + jax.lax.stop_gradient(inner(jax.lax.stop_gradient(x)))


def conditional(inner):
    return lambda x: jax.lax.cond(x.sum() > 0, inner, lambda x: x, x)


def scanned(inner):
    return lambda x: jax.lax.scan(lambda c, _: (inner(c), None), x, None, length=3)[0]


def a(n):
    """A weight that no text shows."""
    return jnp.asarray(np.float32([0, n]))


KINDS = {
    "closed over": lambda n: lambda x: x * a(n),
    "jit": lambda n: jax.jit(lambda x: x * a(n)),
    "jit in jit": lambda n: jax.jit(lambda x: jax.jit(lambda y: y * a(n))(x)),
    "checkpoint": lambda n: jax.checkpoint(lambda x: jnp.sin(x * a(n))),
    "cond": lambda n: conditional(lambda x: x * a(n)),
    "scan": lambda n: scanned(jax.jit(lambda x: x * a(n))),
    "custom_vjp, forward": lambda n: with_vjp(a(n), a(1)),
    "custom_vjp, backward": lambda n: with_vjp(a(1), a(n)),
    "custom_jvp, forward": lambda n: with_jvp(a(n), a(1)),
    "custom_jvp, tangent": lambda n: with_jvp(a(1), a(n)),
    "callback, closure": lambda n: stopped(called_back(Table.__call__.__get__(Table(np.asarray(a(n)))))),
    "callback, code": lambda n: stopped(called_back((lambda x: x) if n == 1 else (lambda x: x + 1))),
    "callback, constant": lambda n: stopped(called_back((lambda x: x * 2) if n == 1 else (lambda x: x * 3))),
    "callback, object": lambda n: stopped(called_back(Table([n, 2.0]))),
    "callback, method": lambda n: stopped(called_back(Table({"x": n}.get("x")).method)),
    "callback in jit in scan": lambda n: scanned(jax.jit(stopped(called_back(lambda x: x * n)))),
}


def digest(inner, where="loss"):
    problem = bowl()

    def loss(params, batch, key=None):
        return jnp.sum(inner(params["x"]) - batch)

    changed = dict(
        loss=dict(loss=loss),
        evaluate=dict(evaluate=lambda params: {"loss": inner(params["x"]).sum()}),
        sample=dict(sample=lambda key: inner(jax.random.normal(key, (2,)))),
    )[where]
    problem = problem.__class__(**{**vars(problem), **changed})
    return arguments_of(problem, lrx.sgd, None, [], {})["problem"]


def by_words(x):
    """Code with a set of strings, whose order each process decides anew."""
    return x * len({"one", "two", "three", "four", "five", "six", "seven"} & {str(x.dtype)})


def in_any_process():
    """Digests that no process may change."""
    kinds = "jit", "custom_vjp, backward", "custom_jvp, tangent", "callback, object", "callback, method"
    return [*(digest(KINDS[kind](1)) for kind in kinds), digest(stopped(called_back(by_words)))]
