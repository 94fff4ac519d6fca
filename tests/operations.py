"""Functions traced by JAX and run by NumPy, operation by operation, so that nothing is compiled.

`jax.jit` compiles each function anew, which takes most of a test that asks hundreds of short functions for numbers. A
trace has all that JAX knows of a function: shapes, dtypes, batches and derivatives. What is asked of the program that
XLA makes of it, such as buffers, devices and digits, is not for here.
"""

import functools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal


def by_operations(function):
    """The function, traced once for arguments of the same types, as `jax.jit` traces it, and run by `evaluate`."""
    traces = {}

    def call(*arguments):
        leaves, structure = jax.tree.flatten(arguments)
        types = structure, tuple(map(jax.typeof, leaves))
        if types not in traces:
            closed, out = jax.make_jaxpr(function, return_shape=True)(*arguments)
            traces[types] = closed, jax.tree.structure(out)
        closed, out = traces[types]
        with np.errstate(all="ignore"):
            values = evaluate(closed, leaves)
        if jax.config.jax_debug_nans and any(map(is_nan, values, closed.out_avals)):
            raise FloatingPointError("an output is not a number")
        return out.unflatten(map(as_array, values, closed.out_avals))

    return call


def as_array(x, aval):
    """JAX's array; a weak type is that of a Python number, which an array of NumPy's cannot have."""
    return jnp.asarray(np.asarray(x).item() if aval.weak_type else x)


def is_nan(x, aval):
    return bool(jnp.issubdtype(aval.dtype, jnp.inexact) and np.isnan(x).any())


def evaluate(closed, values):
    """The outputs of a closed jaxpr; of a condition only the branch that is taken is run."""
    if closed not in PROGRAMS:
        PROGRAMS[closed] = Program(closed)
    return PROGRAMS[closed](values)


PROGRAMS = weakref.WeakKeyDictionary()


class Program:
    """A closed jaxpr as a list of steps. What depends on no argument is computed once, before any is given."""

    def __init__(self, closed):
        self.known, self.steps = [None] * len(closed.jaxpr.invars), []
        self.given = set(range(len(self.known)))
        """The places of the arguments, and of what depends on them."""
        self.outputs = self.add(closed, list(self.given))
        self.steps = self.needed()

    def __call__(self, values):
        known = self.known.copy()
        known[: len(values)] = values
        for run, inputs, outputs, over in self.steps:
            for i, x in zip(outputs, run([known[j] for j in inputs]), strict=True):
                known[i] = x
            for i in over:
                known[i] = None
        return [known[i] for i in self.outputs]

    def add(self, closed, inputs):
        """The places of the outputs of a closed jaxpr whose inputs are at some places."""
        places = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        places.update((x, self.place(value)) for x, value in zip(closed.jaxpr.constvars, closed.consts, strict=True))

        def place_of(x):
            return self.place(np.asarray(x.val, x.aval.dtype)) if isinstance(x, Literal) else places[x]

        for equation in closed.jaxpr.eqns:
            inputs = [place_of(x) for x in equation.invars]
            places.update(zip(equation.outvars, self.perform(equation, inputs), strict=True))
        return [place_of(x) for x in closed.jaxpr.outvars]

    def place(self, value):
        self.known.append(value)
        return len(self.known) - 1

    def perform(self, equation, inputs):
        """The places of the outputs of one operation."""
        name, options = equation.primitive.name, equation.params
        if name in CALLS:
            called = options[CALLS[name]]
            return self.add(called if isinstance(called, ClosedJaxpr) else ClosedJaxpr(called, ()), inputs)
        run = operation(equation)
        if self.given.isdisjoint(inputs) and not equation.effects:
            return [self.place(x) for x in run([self.known[i] for i in inputs])]
        outputs = [self.place(None) for _ in equation.outvars]
        self.given.update(outputs)
        self.steps.append((run, inputs, outputs, bool(equation.effects)))
        return outputs

    def needed(self):
        """The steps that something depends on, each with the places of what none after it asks for."""
        asked, steps = set(self.outputs), []
        for run, inputs, outputs, acts in reversed(self.steps):
            if acts or not asked.isdisjoint(outputs):
                over = self.given.intersection({*inputs, *outputs} - asked)
                asked.update(inputs)
                steps.append((run, inputs, outputs, over))
        return steps[::-1]


def operation(equation):
    """One operation as a function of the list of its inputs, which NumPy or JAX runs."""
    name, options = equation.primitive.name, equation.params
    if name == "cond":
        return lambda values: evaluate(options["branches"][int(values[0])], values[1:])
    if name in LOOPS:
        return functools.partial(LOOPS[name], options)
    plain = not any(jnp.issubdtype(x.aval.dtype, jax.dtypes.extended) for x in equation.invars)
    if name in NUMPY and plain:
        function, dtype = NUMPY[name], equation.outvars[0].aval.dtype
        return lambda values: [np.asarray(function(*map(np.asarray, values), **options), dtype)]
    if equation.primitive.multiple_results:
        return lambda values: equation.primitive.bind(*values, **options)
    return lambda values: [equation.primitive.bind(*values, **options)]


CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
CALLS["custom_vmap_call"] = "call"
"""Operations that call a function, and where they hold it."""


def while_loop(options, values):
    to_ask, to_step = options["cond_nconsts"], options["cond_nconsts"] + options["body_nconsts"]
    asked, stepped, carry = values[:to_ask], values[to_ask:to_step], values[to_step:]
    while (goes_on := np.asarray(evaluate(options["cond_jaxpr"], asked + carry)[0])).any():
        new = evaluate(options["body_jaxpr"], stepped + carry)
        # in a batch the members that have ended stay as they are
        pairs = zip(new, carry, strict=True)
        carry = new if goes_on.ndim == 0 else [np.where(column(goes_on, x), x, y) for x, y in pairs]
    return carry


def column(x, like):
    return x.reshape(*x.shape, *[1] * (np.ndim(like) - x.ndim))


def scan(options, values):
    to_carry, to_rows, length = options["num_consts"], options["num_consts"] + options["num_carry"], options["length"]
    consts, carry, columns = values[:to_carry], values[to_carry:to_rows], [np.asarray(x) for x in values[to_rows:]]
    rows = [None] * length
    for i in reversed(range(length)) if options["reverse"] else range(length):
        out = evaluate(options["jaxpr"], [*consts, *carry, *(x[i] for x in columns)])
        carry, rows[i] = out[: len(carry)], out[len(carry) :]
    return [*carry, *map(np.stack, zip(*rows, strict=True))]


LOOPS = {"while": while_loop, "scan": scan}


def with_options(function):
    """What NumPy's function gives, whatever else JAX's operation says, such as the accuracy that it wants."""
    return lambda *values, **_: function(*values)


def over_axes(function, of_nothing=0):
    def reduce(x, axes, **_):
        axes = tuple(axes)
        return function(x, axis=axes) if x.size else np.full(np.sum(x, axis=axes).shape, of_nothing)

    return reduce


def broadcast_in_dim(x, *, shape, broadcast_dimensions, **_):
    kept = [shape[i] if i in broadcast_dimensions else 1 for i in range(len(shape))]
    for axis, n in zip(broadcast_dimensions, x.shape, strict=True):
        kept[axis] = n
    return np.broadcast_to(x.reshape(kept), shape)


def select_n(which, *cases, **_):
    return np.where(which, *reversed(cases)) if which.dtype == bool else np.choose(which, cases)


def divide(x, y, **_):
    return x / y if x.dtype.kind != "i" else np.trunc(x / y)


def rounded(x, *, rounding_method, **_):
    """Ties to the even one, or away from 0."""
    if rounding_method:
        return np.round(x)
    floor = np.floor(np.abs(x))
    return np.copysign(floor + (np.abs(x) - floor >= 0.5), x)


def bitcast(x, new_dtype):
    if x.itemsize != np.dtype(new_dtype).itemsize:
        return jax.lax.bitcast_convert_type(x, new_dtype)
    return np.ascontiguousarray(x).view(new_dtype).reshape(x.shape)


def shift_right_logical(x, y):
    unsigned = x.dtype.str.replace("i", "u")
    return (x.view(unsigned) >> y.astype(unsigned)).view(x.dtype)


SAME_NAME = (
    *(
        "sign",
        "sqrt",
        "cbrt",
        "square",
        "abs",
        "exp",
        "exp2",
        "log",
        "log1p",
        "expm1",
        "sin",
        "cos",
        "tanh",
        "floor",
        "ceil",
    ),
    *("conj", "real", "imag", "copy"),
)
OTHER_NAME = {
    **dict(add="add", add_any="add", sub="subtract", mul="multiply", neg="negative", pow="power", rem="fmod"),
    **dict(max="maximum", min="minimum", is_finite="isfinite", xor="bitwise_xor"),
    **dict(eq="equal", ne="not_equal", lt="less", le="less_equal", gt="greater", ge="greater_equal"),
    "and": "bitwise_and",
    "or": "bitwise_or",
    "not": "invert",
    "shift_left": "left_shift",
    "shift_right_arithmetic": "right_shift",
}
NUMPY = {
    **{
        name: with_options(getattr(np, ours))
        for name, ours in {**dict(zip(SAME_NAME, SAME_NAME, strict=True)), **OTHER_NAME}.items()
    },
    "div": divide,
    "round": rounded,
    "shift_right_logical": shift_right_logical,
    "bitcast_convert_type": bitcast,
    "rsqrt": lambda x, **_: 1 / np.sqrt(x),
    "integer_pow": lambda x, y: x**y,
    "convert_element_type": lambda x, new_dtype, **_: x.astype(new_dtype),
    "select_n": select_n,
    "broadcast_in_dim": broadcast_in_dim,
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "squeeze": lambda x, dimensions: x.squeeze(tuple(dimensions)),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "slice": lambda x, start_indices, limit_indices, strides: x[
        tuple(map(slice, start_indices, limit_indices, strides or [1] * x.ndim))
    ],
    "concatenate": lambda *xs, dimension: np.concatenate(xs, dimension),
    "reduce_sum": over_axes(np.sum),
    "reduce_max": over_axes(np.max, -np.inf),
    "reduce_min": over_axes(np.min, np.inf),
    "reduce_and": over_axes(np.all, True),
    "reduce_or": over_axes(np.any),
}
"""Operations as NumPy has them. Others, and those of random keys, are run by JAX."""
