"""Which axes of a parameter are inputs and outputs of a layer: as a user says it, or told by names and shapes."""

import math
import re
from typing import Any, NamedTuple

from .. import _check as check

AUTO = "auto"
ENTRIES = "E"
"""The letter of an axis of entries, of which each input takes one: a vocabulary may grow, and is no fan-in."""

VECTORS = re.compile(r"^(\w+_)?(bias|scale|offset|beta|gamma)(_\w{1,2}(_\w+)?)?$|^b\d*$")
"""Names of parameters that are added or multiplied by feature: all of their axes are outputs."""
TABLES = re.compile(
    r"^(embeddings?|w[tp]e|pos(ition(al)?)?(_(emb|enc)\w*)?|cls|(cls|class|mask|query|register)_tokens?)$"
)
"""Names of parameters whose last axis is an entry's features: embeddings, positions, tokens of the model's own."""
IN_OUT = re.compile(rf"^(kernel|[wW]\d*|w_[ih])$|{TABLES.pattern}")
"""Names of parameters whose last two axes are (input, output): Flax, Haiku, and `x @ w` in bare JAX."""
OUT_IN = re.compile(r"^weight(_[ih]h\w*)?$")
"""Names of parameters whose first two axes are (output, input): Equinox and torch."""
EMBEDDING = re.compile(r"emb|^w[tp]e$")
NORM = re.compile(r"norm|^ln")
TRANSPOSED = re.compile(r"conv\w*transpose")


class Parameter(NamedTuple):
    """A parameter of two models."""

    name: str
    """Its dotted path."""
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    owner: Any
    """What holds it."""

    @property
    def places(self) -> list[str]:
        """The parts of its name."""
        return re.split(r"[./]", self.name)

    @property
    def grown(self) -> list[int]:
        """Its axes whose sizes differ."""
        return [axis for axis, (n, n0) in enumerate(zip(self.shape, self.base_shape, strict=True)) if n != n0]

    def growth(self, axes: list[int]) -> float:
        """The factor by which it grew along some of its axes."""
        return math.prod(self.shape[axis] / self.base_shape[axis] for axis in axes)

    def beside(self, together: dict[str, "Parameter"], *others: str, up: int = 1) -> "Parameter | None":
        """The first of the others that is there, where the last `up` parts of the name are put in its place."""
        own = ".".join(self.places[-up:])
        place = self.name[: len(self.name) - len(own)]
        return next((together[place + other] for other in others if place + other in together), None)

    def is_kind(self, pattern: re.Pattern[str]) -> bool:
        """Whether its layer is of a kind: by its class, or by its name where it is a plain container."""
        if isinstance(self.owner, dict | list | tuple | type(None)):
            return any(map(pattern.search, [place.lower() for place in self.places[-2:-1]]))
        return any(pattern.search(cls.__name__.lower()) for cls in type(self.owner).__mro__)


def aligned(name: str, spec: str, ndim: int) -> str:
    """The letters of each axis: those of the specification are the last ones. Vectors are outputs, unless it is "i"."""
    if not re.fullmatch(r"[a-z\-]+", spec) or ("o" not in spec and spec != "i"):
        raise check.fail(
            "axes", "must be 'auto' or have a letter for each axis, `i` for inputs and `o` for outputs", spec
        )
    if ndim < 2:
        return (spec if spec == "i" else "o") * ndim
    if len(spec) > ndim:
        raise check.fail("axes", f"must have at most {ndim} letters for {name!r}", spec)
    return "-" * (ndim - len(spec)) + spec


def guessed(parameter: Parameter, together: dict[str, Parameter]) -> str:
    """The letters from a parameter's name, what holds it, which axes grew, and the parameters beside it."""
    name, shape, base_shape, _ = parameter
    ndim, grown, last = len(shape), parameter.grown, parameter.places[-1]
    is_matrix = IN_OUT.match(last) or OUT_IN.match(last)
    bias = parameter.beside(together, "bias", "b") if is_matrix else None
    norm = OUT_IN.match(last) and (parameter.is_kind(NORM) or (bias is not None and bias.shape == shape))
    two_axes = re.match(r"b\d*$", last) and len(grown) > 1  # such as the b of a low-rank pair
    if ndim < 2 or norm or (VECTORS.match(last) and not two_axes):
        return "o" * ndim
    same = len({shape[axis] / base_shape[axis] for axis in grown}) == 1
    readings = []
    if is_matrix:
        named = _heads(parameter, together, bias) if ndim > 2 and IN_OUT.match(last) else None
        readings = _layer(parameter) if named is None else named
    elif len(grown) == 2 and same and not two_axes:
        readings = [_between(ndim, *grown)]
    elif not grown:
        readings = ["-" * ndim]
    if bias is not None:  # what is added has the size of the outputs
        factor = bias.growth(bias.grown)
        readings = [x for x in readings if math.isclose(parameter.growth(_outputs(x)), factor)]
    if not readings:
        beside = "" if bias is None else f" beside a bias of {bias.base_shape} and {bias.shape}"
        raise ValueError(
            f"{check.where('axes')} must say which axes of {name!r} are inputs and outputs, got 'auto' for the shapes "
            f"{base_shape} and {shape}{beside}, which do not tell it. {way_out(name)}"
        )
    return readings[0]


def _outputs(letters: str) -> list[int]:
    return [axis for axis, letter in enumerate(letters) if letter == "o"]


def _between(ndim: int, i: int, o: int) -> str:
    """From one axis to another, whatever lies between."""
    return "".join("i" if axis == i else "o" if axis == o else "-" for axis in range(ndim))


def _layer(parameter: Parameter) -> list[str]:
    """What a layer's matrix may be, the likeliest first: the others hold where the layer's bias says so."""
    name, shape, _, owner = parameter
    ndim, grown, last = len(shape), parameter.grown, parameter.places[-1]
    if TABLES.match(last) or (last == "weight" and parameter.is_kind(EMBEDDING)):
        return ["-" * (ndim - 2) + ENTRIES + "o"]
    in_out, out_in = aligned(name, "io", ndim), aligned(name, "oi", ndim)
    same = len({shape[axis] / parameter.base_shape[axis] for axis in grown}) == 1
    between = [_between(ndim, *grown)] if len(grown) == 2 and same else []
    if OUT_IN.match(last):
        linear = hasattr(owner, "in_features") or last != "weight"
        spatial = getattr(owner, "num_spatial_dims", 0 if linear else ndim - 2)
        return [
            *(_between(ndim, *reversed(grown)) for _ in between),
            aligned(name, "oi" + "-" * spatial, ndim),
            in_out,
            out_in,
        ]
    if last == "w" and parameter.is_kind(TRANSPOSED):  # Haiku's
        return [out_in, in_out]
    return [*between, in_out, out_in]


def _heads(parameter: Parameter, together: dict[str, Parameter], bias: Parameter | None) -> list[str] | None:
    """What a kernel named as in Flax's attention is: from features to (heads, size), or back.

    None if it is not named so, or is of a plain layer (stacked, or a convolution); [] if that cannot be told.
    """
    [place], last = parameter.places[-2:-1] or [""], parameter.places[-1]
    if place not in ("query", "key", "value", "out"):
        return None
    shape, grown, ndim = parameter.shape, parameter.grown, len(parameter.shape)
    heads, plain = ["-" * (ndim - 3) + ("iio" if place == "out" else "ioo")], None
    query, out = (parameter.beside(together, f"{other}.{last}", up=2) for other in ("query", "out"))
    if query is not None and out is not None and len(query.shape) == len(out.shape):
        return heads if query.shape[-2:] == out.shape[-3:-1] else plain
    if place == "out" or ndim - 3 in grown:
        return heads
    if bias is not None:
        return heads if bias.shape[-2:] == shape[-2:] else plain
    return plain if ndim - 1 in grown else [] if ndim - 2 in grown else heads


def way_out(name: str) -> str:
    """How a user says it."""
    if not name:
        return "Say it: axes='io', a letter for each of the last axes."
    pattern = f"^{re.escape(name)}$"
    return f"Say it in axes=lrx.by_path({{{pattern!r}: 'io', '': 'auto'}}), a letter for each of the last axes."
