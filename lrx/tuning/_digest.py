"""What a run was called with, as text: by it a file is recognised as the state of the same call."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend import core as jax_core

from .. import _check as check
from .._numbers import is_key
from ..problems._problem import Problem, loss_of, scores_of, start_of

CALLBACKS = ("pure_callback", "io_callback")
"""Primitives that call Python, whose code and data are in no traced program."""


def arguments_of(
    problem: Problem, make_optimizer: Callable[..., Any], batch: Any, hyper: list[str], named: dict[str, Any]
) -> dict[str, str]:
    """Argument -> text by which two calls are compared: short values as they are, others as a digest.

    Of functions the traced program is compared, with the arrays in it and in the programs inside it, so that an edited
    loss, other data or another constant inside `make_optimizer` is noticed, and the same code in another process is
    not. Of Python that a program calls back, the code and the data that it reads are compared.
    """
    key = jax.random.key(0)
    start = functools.partial(start_of, problem)
    model = jax.eval_shape(start, key)
    programs = [_program(start, key)]
    if problem.sample is not None:
        programs.append(_program(problem.sample, key))
        batch = jax.eval_shape(problem.sample, key)
    # with its derivatives, which may be the user's own
    loss = jax.value_and_grad(functools.partial(loss_of, problem), has_aux=True)
    programs.append(_program(loss, *model, batch, key))
    if problem.evaluate is not None:
        programs.append(_program(functools.partial(scores_of, problem), *model))

    def optimizer(rate: Any, hyper: Any, params: Any) -> Any:
        tx = optax.with_extra_args_support(check.in_user_code(make_optimizer, rate, **hyper))
        state = tx.init(params)

        def value_fn(params: Any) -> Any:
            return sum(jnp.sum(x.astype(jnp.float32)) for x in jax.tree.leaves(params))

        value, grad = jax.value_and_grad(value_fn)(params)
        return state, tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)

    number = jax.ShapeDtypeStruct((), jnp.float32)
    return {name: _text(value) for name, value in named.items()} | {
        "problem": f"{problem.name} {_digest(*programs)}",
        "make_optimizer": _digest(_program(optimizer, number, dict.fromkeys(hyper, number), model[0])),
        "version of jax": jax.__version__,
    }


def _program(function: Callable[..., Any], *args: Any) -> bytes:
    """The traced program of a function, the names of its results, and all arrays and callbacks that it holds."""
    closed, results = jax.make_jaxpr(function, return_shape=True)(*args)
    text = f"{closed.jaxpr} {jax.tree.structure(results)}"
    return _plain_text(text).encode() + b"".join(_constants(closed))


def _constants(program: Any) -> Iterator[bytes]:
    """What a program holds beside its text: arrays, also those of the programs inside it, and callbacks."""
    if isinstance(program, jax_core.ClosedJaxpr):
        yield from map(_bytes, program.consts)
        program = program.jaxpr
    for equation in program.eqns:
        yield from (_bytes(x.val) for x in equation.invars if isinstance(x, jax_core.Literal))
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                yield from _constants(inner)
            elif isinstance(inner, np.ndarray | jax.Array):
                yield _bytes(inner)
        if equation.primitive.name in CALLBACKS:
            callback = equation.params["callback"]
            yield from _python(getattr(callback, "callback_func", callback), set())


def _is_program(x: Any) -> bool:
    return isinstance(x, jax_core.ClosedJaxpr | jax_core.Jaxpr)


def _python(x: Any, seen: set[int]) -> Iterator[bytes]:
    """The code of a Python function and the data that it reads: arguments, closures, globals, attributes."""
    if id(x) in seen:
        return
    seen.add(id(x))
    inner: list[Any]
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        yield _bytes(x)
        return
    if isinstance(x, CodeType):
        yield x.co_code
        inner = [*x.co_consts, *x.co_names]
    elif isinstance(x, MethodType):
        inner = [x.__func__, x.__self__]
    elif isinstance(x, FunctionType):
        cells = [cell.cell_contents for cell in x.__closure__ or () if _is_filled(cell)]
        names = [name for name in _names(x.__code__) if name in x.__globals__]
        inner = [x.__code__, x.__defaults__, x.__kwdefaults__, *cells, *(x.__globals__[name] for name in names)]
    elif isinstance(x, functools.partial):
        inner = [x.func, x.args, x.keywords]
    elif isinstance(x, dict):
        inner = [y for pair in x.items() for y in pair]
    elif isinstance(x, list | tuple):
        inner = list(x)
    elif isinstance(x, set | frozenset):  # in an order that the process does not decide
        inner = sorted(map(repr, x))
    elif hasattr(x, "__wrapped__"):
        inner = [x.__wrapped__]
    elif type(x).__module__ == "builtins":
        yield _plain_text(repr(x)).encode()
        return
    else:  # a module or a class by its name, another object by what it holds
        yield getattr(x, "__qualname__", getattr(x, "__name__", type(x).__qualname__)).encode()
        inner = [] if isinstance(x, type) else [type(x).__dict__.get("__call__"), getattr(x, "__dict__", None)]
    for y in inner:
        yield from _python(y, seen)


def _names(code: CodeType) -> list[str]:
    """The names that code may look up among the globals, also in the functions inside it."""
    return [*code.co_names, *(name for x in code.co_consts if isinstance(x, CodeType) for name in _names(x))]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _bytes(x: Any) -> bytes:
    x = np.asarray(jax.random.key_data(x) if isinstance(x, jax.Array) and is_key(x) else x)
    return f"{x.dtype}{x.shape}".encode() + (repr(x.tolist()).encode() if x.dtype == object else x.tobytes())


def _plain_text(text: str) -> str:
    """Without the addresses, which no two processes share."""
    return re.sub(r"0x[0-9a-f]+", "", text)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _text(value: Any) -> str:
    """A number as it is, an array as its digest, a list by its parts."""
    if isinstance(value, np.ndarray):
        return _digest(str((value.shape, value.dtype)).encode(), value.tobytes())
    return str(value)
