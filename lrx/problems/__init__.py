"""Real problems that come with lrx, for demonstrations, tests and benchmarks, and the record that describes one."""

from ._equinox import from_equinox as from_equinox
from ._haiku import from_haiku as from_haiku
from ._linen import from_linen as from_linen
from ._load import load as load
from ._loop import as_loop as as_loop
from ._nnx import from_nnx as from_nnx
from ._problem import Problem as Problem
from .diabetes import diabetes as diabetes
from .digits import digits as digits
from .mnist1d import mnist1d as mnist1d
from .text import text as text
