"""Rules, schedules and controllers of your own.

Everything here is public and stays. What you write with it is a member of the family: its numbers are data in the
state, `lrx.learning_rate`, `lrx.hyperparams` and `lrx.with_hyperparams` read and edit them, `lrx.resume` restores them,
`lrx.sweep` trains a grid of them in one program, and it composes with lrx's and optax's transformations.

**A rule** is a frozen dataclass that derives from `Rule`. `Scalar` fields are float32 in the state, `Count` fields
int32; an option that decides the structure of the program is `static`. The memory is any pytree, best a `NamedTuple`,
whose shapes and dtypes never change. `map_leaves` hands a function each update in at least float32 and the memories as
they are, and casts what comes out back.

  >>> from typing import NamedTuple
  >>> import jax, jax.numpy as jnp, lrx
  >>> from lrx import extend
  >>>
  >>> class SignOfMeanState(NamedTuple):
  ...   mean: object
  >>>
  >>> @extend.pytree_dataclass
  ... class SignOfMean(extend.Rule):
  ...   decay: extend.Scalar = 0.9
  ...   elementwise = True  # each entry by itself, so `lrx.pack` may join the leaves
  ...
  ...   def init(self, params):
  ...     return SignOfMeanState(extend.zeros_like(params))
  ...
  ...   def update(self, updates, memory, params=None, **extra):
  ...     def leaf(g, m):
  ...       m = self.decay * m.astype(g.dtype) + (1 - self.decay) * g
  ...       return jnp.sign(m), m
  ...     updates, mean = extend.map_leaves(leaf, 2, updates, memory.mean)
  ...     return updates, SignOfMeanState(mean)
  >>>
  >>> tx = lrx.chain(extend.transformation(SignOfMean()), lrx.scale_by_learning_rate(0.5))
  >>> params = jnp.ones(2)
  >>> updates, state = tx.update(params, tx.init(params), params)
  >>> print(updates, lrx.hyperparams(state)["sign_of_mean.decay"])
  [-0.5 -0.5] 0.9

What a rule may tell the library about itself stands on `Rule`, a line each; what it does not say is not assumed. A
number of a rule may be given as a schedule: the rule sees its value; a factory annotates such an argument as
`Hyperparameter`. `public` on the function that users call makes
errors name it: `sign_of_mean(decay=...) must be a number, got 'x'.` Some fields of a memory have one meaning
everywhere: `count` (or `t`, `step_count`, `num_updates`) is the number of updates completed, `learning_rate` the rate
applied last, `inner` the state of what the rule wraps, `averaged` the parameters to evaluate with, and `skipped` the
number of updates that were skipped.

**A schedule** derives from `Schedule` and has one method, from the count of updates completed to a rate in float32, of
the shape of the count. `as_count` gives the count as int32, not negative, whatever it was. `marks`, if you write it,
tells where its phases end; "end" is where the last change is over. A factory decorated with `schedule_factory` gives
the schedule JSON: `factory` in the class is its name, and its return annotation the class. Its arguments that are
annotated as `Steps` may be floats such as `0.05 * total_steps`, which are rounded.

  >>> @extend.pytree_dataclass
  ... class Halving(extend.Schedule):
  ...   init_value: extend.Scalar
  ...   every: extend.Count
  ...   times: extend.Count
  ...   factory = "halving_schedule"
  ...
  ...   def __call__(self, count):
  ...     halvings = jnp.minimum(extend.as_count(count) // self.every, self.times)
  ...     return jnp.asarray(self.init_value, jnp.float32) * jnp.exp2(-halvings.astype(jnp.float32))
  ...
  ...   def marks(self):
  ...     return {"end": self.every * self.times}
  >>>
  >>> @extend.schedule_factory
  ... def halving_schedule(init_value: extend.Scalar, every: extend.Steps, times: extend.Count = 3) -> Halving:
  ...   return Halving(init_value, every, times)
  >>>
  >>> schedule = lrx.with_warmup(halving_schedule(0.8, every=10), 5)
  >>> print(schedule(5), schedule(15), schedule.end)
  0.8 0.4 35
  >>> lrx.from_json(schedule.to_json()) == schedule
  True

**A controller** derives from `Controller`. Its first field is what it adapts: a number, a schedule or another
controller. `start` makes its memory. `rate` gives the rate of one update, from the direction that the rate multiplies
and from `signals`: a dict with `count`, `params`, `grad`, `value`, `value_fn`, and all extra arguments as `extra`.
`needs` lists those that it must have. If one is missing, the error says how to pass it. Further options stand on
`Controller`, a line each.

  >>> @extend.pytree_dataclass
  ... class Bounded(extend.Controller):
  ...   learning_rate: object
  ...   needs = ("value",)
  ...
  ...   def start(self, params):
  ...     return extend.start_of(self.learning_rate, params)
  ...
  ...   def rate(self, memory, direction, signals):
  ...     rate, memory = extend.rate_of_update(self.learning_rate, memory, direction, signals)
  ...     return jnp.minimum(rate, signals["value"]), memory
  >>>
  >>> @extend.public
  ... def bounded(learning_rate: lrx.LearningRate) -> Bounded:
  ...   return Bounded(extend.as_rate("learning_rate", learning_rate))
  >>>
  >>> tx = lrx.sgd(bounded(0.1))
  >>> _, state = tx.update(params, tx.init(params), params, value=0.025)
  >>> print(lrx.learning_rate(state))
  0.025
"""

from ._arithmetic import add_one as add_one
from ._arithmetic import global_norm as global_norm
from ._arithmetic import inner_product as inner_product
from ._arithmetic import map_leaves as map_leaves
from ._arithmetic import real as real
from ._arithmetic import wide as wide
from ._arithmetic import zero_count as zero_count
from ._arithmetic import zeros_like as zeros_like
from ._chain import chain as chain
from ._check import public as public
from ._numbers import Count as Count
from ._numbers import Hyperparameter as Hyperparameter
from ._numbers import Scalar as Scalar
from ._pytree import pytree_dataclass as pytree_dataclass
from ._pytree import static as static
from ._rule import Rule as Rule
from ._rule import State as State
from ._transformation import Transformation as Transformation
from ._transformation import as_transformation as as_transformation
from ._transformation import transformation as transformation
from .controllers._controller import Controller as Controller
from .controllers._controller import LearningRate as LearningRate
from .controllers._controller import as_rate as as_rate
from .controllers._controller import rate_of_update as rate_of_update
from .controllers._controller import start_of as start_of
from .schedules._phase import as_count as as_count
from .schedules._registry import schedule_factory as schedule_factory
from .schedules._schedule import Schedule as Schedule
from .schedules._schedule import as_schedule as as_schedule
from .schedules._steps import Steps as Steps
