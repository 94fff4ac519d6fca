"""`Recorder`: the losses, learning rates and gradient norms of a training loop that the user has written."""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import is_array, is_number, is_tracer
from .._state_paths import rate_of, rules
from ..diagnosis._monitor import MonitoringState
from ..state import learning_rate

BLOCK = 256
"""Entries that go to the host together. As many again stay behind, so that the device is not waited for."""

_copied = jax.jit(partial(jax.tree.map, jnp.copy))  # buffers of their own, at a third of the cost of copies outside jit


class Recorder:
    """Collect the losses and the learning rates of any training loop, without waiting for the device.

    Made empty. Each step adds its loss and, if wanted, the rate in the state of the optimizer; NumPy arrays come out,
    for `lrx.suggest`, `lrx.diagnose` or a plot. If the state has an `lrx.monitor`, the norms of the gradients come with
    the rate, for `lrx.refined_schedule`. In a population trained under `jax.vmap` all of them have leading axes.

    Entries stay on the device until it has computed some hundreds of later ones, and come to the host in blocks. The
    rate and the norms are copied, so that the next step may donate the state.

    Examples:
      A range test by hand:

      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.exponential_decay(1e-3, transition_steps=40, decay_rate=1e4))
      >>> @jax.jit
      ... def step(params, state):
      ...   loss, grads = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      ...   updates, state = tx.update(grads, state, params)
      ...   return lrx.apply_updates(params, updates), state, loss
      >>> params, recorder = jnp.ones(2), lrx.Recorder()
      >>> state = tx.init(params)
      >>> for _ in range(41):
      ...   params, state, loss = step(params, state)
      ...   recorder.add(loss, state)
      >>> recorder
      Recorder(shape=(41,))
      >>> print(f"{lrx.suggest(recorder.learning_rates, recorder.losses, 'steep'):.2f}")
      0.06

      The gradient norms of a first run ask for the schedule of a second one; equal ones for a line to zero:

      >>> tx, recorder = lrx.monitor(lrx.sgd(0.1)), lrx.Recorder()
      >>> params = jnp.zeros(4)
      >>> state = tx.init(params)
      >>> for _ in range(5):
      ...   loss, grads = jax.value_and_grad(lambda p: jnp.sum(jnp.abs(p - 3)))(params)
      ...   updates, state = tx.update(grads, state, params)
      ...   params = lrx.apply_updates(params, updates)
      ...   recorder.add(loss, state)
      >>> print(recorder.gradient_norms)
      [2. 2. 2. 2. 2.]
      >>> schedule = lrx.refined_schedule(recorder.gradient_norms, peak_value=0.4)
      >>> print(*(schedule(t) for t in range(5)))
      0.4 0.3 0.2 0.1 0.0

      To Weights & Biases, online or not, go the same numbers:

      >>> def to_wandb(recorder, run):  # such as run = wandb.init(mode="offline")
      ...   for step, (loss, rate) in enumerate(zip(recorder.losses, recorder.learning_rates)):
      ...     run.log({"train/loss": float(loss), "train/learning_rate": float(rate)}, step=step)
    """

    def __init__(self) -> None:
        self._losses, self._rates = _Series(), _Series()
        self._norms, self._l1_norms = _Series(), _Series()

    @check.public
    def add(self, loss: Any, opt_state: Any = None) -> None:
        """Append one step.

        Args:
          loss: what the step returned: a number, or an array with an entry for each member of a population.
          opt_state: the optimizer state that the step returned, or anything that contains it (a `TrainState`, an
            `nnx.Optimizer`); the entry is its `lrx.learning_rate`, and the gradient norms of its `lrx.monitor` if there
            is one. In every call or in none.

        Raises:
          TypeError: if the loss is not real, or under a transformation such as `jit`, where there is no number yet.
          ValueError: if a shape is another one than before, a buffer was donated, the state comes in some calls only,
            or it holds no learning rate or several.
        """
        loss = self._losses.checked("loss", loss)
        rate, norms = None, ()
        if opt_state is not None:
            states = [found.state for found in rules(opt_state)]
            # a donated state may still hold the rate, of an earlier step: only what the step reads is given away
            rated = [state for state in states if rate_of(state) is not None]
            watched = [state.memory for state in states if isinstance(state.memory, MonitoringState)]
            if len(watched) == 1:
                norms = (watched[0].gradient_norm, watched[0].gradient_l1)
            if any(map(_is_deleted, jax.tree.leaves((rated, norms)))):
                raise _donated("opt_state")
            rate = self._rates.checked("opt_state", learning_rate(opt_state))
            norms = tuple(s.checked("opt_state", x) for s, x in zip((self._norms, self._l1_norms), norms, strict=False))
        if len(self) and (rate is None) == bool(len(self._rates)):
            given = "none" if rate is None else "one"
            raise ValueError(
                f"{check.where('opt_state')} must be given in every call or in none, got {given} this time."
            )
        self._losses.append(loss)
        if rate is not None:
            entries = _copied((rate, *norms))
            for series, x in zip((self._rates, self._norms, self._l1_norms), entries, strict=False):
                series.append(x)

    @property
    def losses(self) -> np.ndarray:
        """The losses so far, float32 [steps] or [members, steps]. Waits for the device."""
        return self._losses.read()

    @property
    def learning_rates(self) -> np.ndarray:
        """The rate that each step applied, float32 [steps] or [members, steps]. Waits for the device.

        Raises:
          ValueError: if the steps were added without their states.
        """
        if len(self) and not len(self._rates):
            raise ValueError("learning_rates needs the state of each step: recorder.add(loss, opt_state).")
        return self._rates.read()

    @property
    def gradient_norms(self) -> np.ndarray:
        """‖g‖₂ of the gradient of each step, float32 [steps] or [members, steps]. Waits for the device.

        As `lrx.monitor` measures it. A step that was skipped has the norm of the one before.

        Raises:
          ValueError: if a step was added without a state that has one `lrx.monitor`.
        """
        return self._of_monitor("gradient_norms", self._norms)

    @property
    def gradient_l1_norms(self) -> np.ndarray:
        """‖g‖₁ of the gradient of each step, as `gradient_norms`; for a large model an estimate."""
        return self._of_monitor("gradient_l1_norms", self._l1_norms)

    def _of_monitor(self, name: str, series: "_Series") -> np.ndarray:
        if len(series) != len(self):
            fault = f"{name} needs one lrx.monitor in the state of each step, got {len(series)} of {len(self)} steps"
            raise ValueError(f"{fault}. Make the optimizer as lrx.monitor(tx) and call recorder.add(loss, opt_state).")
        return series.read()

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the record as CSV, which `lrx.read_log` and `lrx diagnose` read.

        The columns are `step`, from 0, `loss` and, if states were added, `learning_rate`; for members of a population
        `loss/0`, `loss/1` and so on. Waits for the device.

        Args:
          path: the file; replaced if it is there.

        Raises:
          OSError: if it cannot be written.

        Examples:
          >>> import pathlib, tempfile, lrx
          >>> recorder = lrx.Recorder()
          >>> for loss in (2.5, 1.5, 1.25):
          ...   recorder.add(loss)
          >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
          >>> recorder.to_csv(path)
          >>> path.read_text().split()
          ['step,loss', '0,2.5', '1,1.5', '2,1.25']
          >>> lrx.read_log(path).losses
          array([2.5 , 1.5 , 1.25])
        """
        from ..logs._write import write_csv

        write_csv(path, self.losses, self._rates_or_none())

    def to_tensorboard(self, directory: str | os.PathLike[str]) -> None:
        """Write the record as an event file of TensorBoard, with tensorboardX (the extra `logs`).

        The scalars are `train/loss` and, if states were added, `train/learning_rate`, at steps from 0. Members of a
        population become runs in folders `0`, `1` and so on. Waits for the device.

        Args:
          directory: the folder of the run; made if need be.

        Raises:
          ImportError: if tensorboardX is missing.
          OSError: if the folder cannot be written.
        """
        from ..logs._write import write_events

        write_events(directory, self.losses, self._rates_or_none())

    def _rates_or_none(self) -> np.ndarray | None:
        return self.learning_rates if len(self._rates) else None

    def __len__(self) -> int:
        return len(self._losses)

    def __repr__(self) -> str:
        return f"Recorder(shape={(*self._losses.shape, len(self))})"


class _Series:
    """Numbers, or arrays of one shape, in order."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.blocks: list[np.ndarray] = []
        """What is on the host, each float32 [..., entries]."""
        self.moved = 0
        """Entries in the blocks."""
        self.waiting: list[Any] = []
        """What may still be on the device, as it came."""

    def __len__(self) -> int:
        return self.moved + len(self.waiting)

    def checked(self, argument: str, x: Any) -> Any:
        """`x` in a form that can be kept; else an error that names `argument`."""
        where = check.where(argument)
        if is_tracer(x):
            raise TypeError(f"{where} must be a number, got {x!r}. Record outside jit, what the jitted step returns.")
        if not is_number(x) or (is_array(x) and not _is_real(x.dtype)):
            raise TypeError(f"{where} must be a real number or an array of them, got {x!r}.")
        if _is_deleted(x):
            raise _donated(argument)
        if len(self) and np.shape(x) != self.shape:
            raise ValueError(f"{where} must have shape {self.shape} as before, got shape {np.shape(x)}.")
        return x if isinstance(x, jax.Array) else _float32(x)  # a copy: the user may write into the array

    def append(self, x: Any) -> None:
        """Append what was checked."""
        if len(self.waiting) >= 2 * BLOCK:
            self._move(BLOCK)
        self.shape = np.shape(x)
        self.waiting.append(x)

    def read(self) -> np.ndarray:
        """All of it."""
        self._move(len(self.waiting))
        if not self.blocks:
            return np.zeros(0, np.float32)
        self.blocks = [np.concatenate(self.blocks, axis=-1)]
        return self.blocks[0].copy()

    def _move(self, n: int) -> None:
        """Bring the first `n` that wait to the host."""
        if not n:
            return
        some = self.waiting[:n]
        for i, x in enumerate(some, self.moved):
            if _is_deleted(x):
                fault = f"add(loss=...) was given an array that was donated later, entry {i}: its buffer is deleted"
                raise ValueError(f"{fault}. Do not donate the loss, or add jnp.copy(loss).")
        self.blocks.append(np.stack([_float32(x) for x in jax.device_get(some)], axis=-1))
        self.moved, self.waiting = self.moved + n, self.waiting[n:]


def _is_deleted(x: Any) -> bool:
    return isinstance(x, jax.Array) and not is_tracer(x) and x.is_deleted()


def _donated(argument: str) -> ValueError:
    fault = f"{check.where(argument)} was donated: a buffer of it is deleted"
    return ValueError(f"{fault}. Give what the step returned, before the next step.")


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _float32(x: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # a loss that float32 cannot hold is infinite
        return np.array(float(x) if isinstance(x, int) else x).astype(np.float32)
