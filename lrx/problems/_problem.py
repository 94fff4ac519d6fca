"""What is trained, as a record of pure functions: everything else in tuning is a function of a `Problem`."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A training problem: where parameters start, what is minimised, and on which data.

    The loss at parameters θ and batch B is `loss(θ, B, key)`. Training minimises its mean over batches, which come
    from `sample` (drawn on the device, inside the compiled program) or from `batches` (read from the host).

    A model that remembers more than its parameters (the running means of batch normalization, a count, a cache) has a
    `loss_with_state` instead. Its state s follows the updates, and no optimizer sees it::

      θ₀, s₀ = init(key)
      L_t, s_{t+1} = loss_with_state(θ_t, s_t, B_t, key_t)

    Two problems are equal when they hold the same functions, so that equal problems share compiled programs. As under
    `jax.jit`, what a function reads from outside (a global array, say) is read once: make a new problem for new data.

    Args:
      init: `init(key) -> params`, a pytree of floating arrays; beside `loss_with_state`, the pair
        `init(key) -> (params, model_state)`.
      loss: `loss(params, batch, key) -> scalar`; `key` (dropout, say) may be None and is passed by position. Give this
        or `loss_with_state`.
      sample: `sample(key) -> batch`, pure; give this or `batches`.
      batches: an iterable of batches, or a function without arguments that returns a fresh one. An iterator can be
        read once only: to train more than once, give the function.
      evaluate: `evaluate(params) -> {"loss": ..., "accuracy": ...}`, scalars on held-out data; accuracy is optional.
        Beside `loss_with_state` it is called as `evaluate(params, model_state)`.
      name: what reports and plots call it.
      loss_with_state: `loss_with_state(params, model_state, batch, key) -> (scalar, model_state)`. The model state is
        a pytree of arrays of any dtypes, and keeps the structure, shapes and dtypes that `init` gives it.

    Raises:
      TypeError: if a function is missing, is not callable or does not take these arguments, or if not exactly one of
        `loss` and `loss_with_state` and one of `sample` and `batches` is given; when training, if `init` or
        `loss_with_state` gives no pair, or the model state changes its structure, a shape or a dtype.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> bowl = Problem(
      ...     init=lambda key: jnp.ones(3),
      ...     loss=lambda params, batch, key=None: jnp.sum((params - batch) ** 2),
      ...     sample=lambda key: jax.random.normal(key, (3,)),
      ...     name="bowl",
      ... )
      >>> bowl
      Problem(name='bowl')
      >>> bowl.loss(jnp.ones(3), jnp.zeros(3))
      Array(3., dtype=float32)

      The parameter follows the running mean of the batches, which starts at 0 and which no gradient moves:

      >>> def loss_with_state(params, mean, batch, key=None):
      ...     return (params - mean) ** 2, 0.5 * mean + 0.5 * batch
      >>> centred = Problem(
      ...     init=lambda key: (jnp.ones(()), jnp.zeros(())),
      ...     loss_with_state=loss_with_state,
      ...     sample=lambda key: jnp.ones(()),
      ...     evaluate=lambda params, mean: {"loss": (params - mean) ** 2, "mean": mean},
      ... )
      >>> import lrx
      >>> result = lrx.sweep(centred, lrx.sgd, learning_rate=0.5, steps=3)
      >>> print(result.losses[0, 0, 0], result.scores["mean"][0, 0])
      [1.   0.25 0.0625] [0.875]
    """

    init: Callable[..., Any]
    loss: Callable[..., Any] = None  # type: ignore[assignment]  # who reads it has a problem without loss_with_state
    sample: Callable[..., Any] | None = None
    batches: Iterable[Any] | Callable[[], Iterable[Any]] | None = None
    evaluate: Callable[..., Any] | None = None
    name: str = "problem"
    loss_with_state: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        _check_function("init", self.init, "key")
        told = "loss gives a scalar, loss_with_state a scalar and the model's new state."
        _check_one(told, loss=self.loss, loss_with_state=self.loss_with_state)
        told = "sample(key) draws a batch on the device, batches are read from the host."
        _check_one(told, sample=self.sample, batches=self.batches)
        if self.loss_with_state is None:
            state = ()
            _check_function("loss", self.loss, "params", "batch", "key")
        else:
            state = ("model_state",)
            _check_function("loss_with_state", self.loss_with_state, "params", *state, "batch", "key")
        if self.sample is not None:
            _check_function("sample", self.sample, "key")
        if callable(self.batches):
            _check_function("batches", self.batches)
        elif self.batches is not None and not isinstance(self.batches, Iterable):
            raise _wrong("batches", "must be an iterable of batches or a function returning one", self.batches)
        if self.evaluate is not None:
            _check_function("evaluate", self.evaluate, "params", *state)
        if not isinstance(self.name, str):
            raise _wrong("name", "must be a string", self.name)

    def _identity(self) -> tuple[Any, ...]:
        functions = (self.init, self.loss, self.sample, self.batches, self.evaluate, self.loss_with_state)
        return self.name, *map(id, functions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Problem(name={self.name!r})"


# ---------------------------------------------------------------- one form for both kinds of loss


def start_of(problem: Problem, key: Any) -> tuple[Any, Any]:
    """The parameters and the model state before the first update; the model state is () under a plain loss."""
    start = problem.init(key)
    if problem.loss_with_state is None:
        return start, ()
    params, model_state = _pair(start, "init", "(params, model_state) beside loss_with_state")
    return params, jax.tree.map(_strong, model_state)


def loss_of(problem: Problem, params: Any, model_state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
    """The loss, and the model state after this batch."""
    if problem.loss_with_state is None:
        return problem.loss(params, batch, key), model_state
    told = problem.loss_with_state(params, model_state, batch, key)
    loss, after = _pair(told, "loss_with_state", "(scalar, model_state)")
    differences = _differences(model_state, after)
    if differences:
        rule = "must return a model_state of the structure, shapes and dtypes that init gives"
        raise _wrong("loss_with_state", rule, differences, show=str)
    return loss, jax.tree.map(_strong, after)


def scores_of(problem: Problem, params: Any, model_state: Any) -> Any:
    """What `evaluate`, which must be there, says."""
    assert problem.evaluate is not None
    return problem.evaluate(params, *(() if problem.loss_with_state is None else (model_state,)))


def _strong(x: Any) -> jax.Array:
    """An array of its own dtype: one whose dtype is weak would come back from the first update as another type."""
    return jnp.asarray(x, jnp.result_type(x))


def _pair(x: Any, function: str, pair: str) -> tuple[Any, Any]:
    if not isinstance(x, tuple) or len(x) != 2:
        raise _wrong(function, f"must return the pair {pair}", _kind(x), show=str)
    return x


def _kind(x: Any) -> str:
    """What something is, without its numbers."""
    if isinstance(x, jax.Array):
        return _array(x)
    return f"a tuple of {len(x)}" if isinstance(x, tuple) else type(x).__name__


def _array(x: Any) -> str:
    return f"{jnp.result_type(x)}{[*jnp.shape(x)]}"


def _differences(before: Any, after: Any) -> str:
    """Where two trees have not the same arrays, by path; an empty text if they are alike."""

    def arrays(tree: Any) -> dict[str, str]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {jax.tree_util.keystr(p): _array(x) for p, x in leaves}

    old, new = arrays(before), arrays(after)
    places = [p for p in old | new if old.get(p) != new.get(p)]
    told = [f"model_state{p}: {new.get(p, 'nothing')} where init gives {old.get(p, 'nothing')}" for p in places[:3]]
    if len(places) > 3:
        told.append(f"and {len(places) - 3} more")
    trees = [jax.tree.structure(tree) for tree in (before, after)]
    if not told and trees[0] != trees[1]:
        told = [f"{trees[1]} where init gives {trees[0]}"]
    return "; ".join(told)


# ---------------------------------------------------------------- checks


def _check_one(way_out: str, **two: Any) -> None:
    """Exactly one of two arguments is given."""
    given = sum(x is not None for x in two.values())
    if given != 1:
        names = ", ".join(f"{name}=..." for name in two)
        raise TypeError(
            f"Problem({names}) must be given one of the two, got {'both' if given else 'neither'}. {way_out}"
        )


def _check_function(argument: str, function: Any, *parameters: str) -> None:
    """A callable that can be called with these arguments, by position."""
    if not callable(function):
        raise _wrong(argument, "must be callable", function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        wanted = f"{argument}({', '.join(parameters)})"
        raise _wrong(argument, f"must be callable as {wanted}", f"{name}{signature}", show=str) from None


def _wrong(argument: str, rule: str, value: Any, show: Callable[[Any], str] = repr) -> TypeError:
    return TypeError(f"Problem({argument}=...) {rule}, got {show(value)}.")
