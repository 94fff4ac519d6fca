"""One small training loop for each framework, as its users write it: a 64-16-10 network on handwritten digits.

Each class is a run. `run.step(images, labels)` trains; the rest says where the framework keeps things. The tests ask
the same of every class in `LOOPS`.
"""

import functools
import io
from typing import Any, ClassVar

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx, serialization
from flax.training.train_state import TrainState

import lrx


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


class Run:
    """What the classes share: how a test reads, edits, saves and goes on."""

    kernel: ClassVar[str]
    """The path of the first layer's weights, as a checkpoint names it."""
    tx: Any
    params: Any
    opt_state: Any

    @property
    def container(self):
        """What a user has in hand: the functions that read a state are given this."""
        return {"params": self.params, "opt_state": self.opt_state}

    def edit(self, **values):
        self.opt_state = lrx.with_hyperparams(self.opt_state, **values)

    def saved(self):
        """What goes into a checkpoint."""
        return self.container

    def load(self, saved):
        """Go on from a checkpoint of the same optimizer."""
        self.params, self.opt_state = saved["params"], saved["opt_state"]

    def resume(self, raw):
        """Go on from the plain dicts of a checkpoint, whatever rate it was written with."""
        self.params = raw["params"]
        self.opt_state = lrx.resume(self.tx, self.params, raw["opt_state"])

    def to_bytes(self):
        """The run as the framework's own file."""
        return serialization.to_bytes(self.saved())

    def from_bytes(self, data):
        self.load(serialization.from_bytes(self.saved(), data))


# ---------------------------------------------------------------- JAX alone


@jax.jit
def bare_init(key):
    def dense(key, inputs, outputs):
        return {"w": jax.random.normal(key, (inputs, outputs)) / inputs**0.5, "b": jnp.zeros(outputs)}

    first, second = jax.random.split(key)
    return {"hidden": dense(first, 64, 16), "out": dense(second, 16, 10)}


def bare_logits(params, images):
    hidden = jax.nn.relu(images @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["out"]["w"] + params["out"]["b"]


# an lrx update compares by structure: optimizers that differ in numbers alone share one compilation
@functools.partial(jax.jit, static_argnums=(4, 5), donate_argnums=(0, 1))
def functional_step(params, opt_state, images, labels, update, apply):
    loss, grads = jax.value_and_grad(lambda p: cross_entropy(apply(p, images), labels))(params)
    updates, opt_state = update(grads, opt_state, params)
    return lrx.apply_updates(params, updates), opt_state, loss


class Bare(Run):
    kernel = "hidden.w"
    apply = staticmethod(bare_logits)
    init = staticmethod(bare_init)

    def __init__(self, tx, seed=0):
        self.tx, self.params = tx, self.init(jax.random.key(seed))
        self.opt_state = tx.init(self.params)

    def step(self, images, labels):
        self.params, self.opt_state, loss = functional_step(
            self.params, self.opt_state, images, labels, self.tx.update, self.apply
        )
        return loss


# ---------------------------------------------------------------- Haiku

haiku_net = hk.without_apply_rng(hk.transform(lambda images: hk.nets.MLP([16, 10])(images)))


haiku_init = jax.jit(haiku_net.init)


class Haiku(Bare):
    kernel = "mlp/~/linear_0.w"
    apply = staticmethod(haiku_net.apply)

    @staticmethod
    def init(key):
        return haiku_init(key, jnp.zeros((1, 64)))


# ---------------------------------------------------------------- Flax linen


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.Dense(10)(nn.relu(nn.Dense(16)(images)))


@functools.partial(jax.jit, donate_argnums=0)
def linen_step(state, images, labels):
    loss, grads = jax.value_and_grad(lambda p: cross_entropy(state.apply_fn({"params": p}, images), labels))(
        state.params
    )
    return state.apply_gradients(grads=grads), loss


class Linen(Run):
    kernel = "Dense_0.kernel"
    net = LinenNet()
    init = staticmethod(jax.jit(net.init))

    def __init__(self, tx, seed=0):
        params = self.init(jax.random.key(seed), jnp.zeros((1, 64)))["params"]
        self.state = TrainState.create(apply_fn=self.net.apply, params=params, tx=tx)
        # a Python int at first, which a checkpoint turns into an array: another type to `jit`, which would trace again
        self.state = self.state.replace(step=jnp.zeros((), jnp.int32))

    @property
    def container(self):
        return self.state

    @property
    def params(self):
        return self.state.params

    @property
    def opt_state(self):
        return self.state.opt_state

    def step(self, images, labels):
        self.state, loss = linen_step(self.state, images, labels)
        return loss

    def edit(self, **values):
        self.state = lrx.with_hyperparams(self.state, **values)

    def load(self, saved):
        self.state = saved

    def resume(self, raw):
        opt_state = lrx.resume(self.state.tx, raw["params"], raw["opt_state"])
        self.state = self.state.replace(step=jnp.asarray(raw["step"]), params=raw["params"], opt_state=opt_state)


# ---------------------------------------------------------------- Flax nnx


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(64, 16, rngs=rngs), nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, images):
        return self.out(nnx.relu(self.hidden(images)))


@functools.partial(nnx.jit, donate_argnums=(0, 1))
def nnx_step(model, optimizer, images, labels):
    loss, grads = nnx.value_and_grad(lambda model: cross_entropy(model(images), labels))(model)
    optimizer.update(model, grads)
    return loss


class NNX(Run):
    kernel = "hidden.kernel"

    def __init__(self, tx, seed=0):
        self.model = NNXNet(nnx.Rngs(seed))
        self.optimizer = nnx.Optimizer(self.model, tx, wrt=nnx.Param)

    @property
    def container(self):
        return self.optimizer

    @property
    def params(self):
        return nnx.to_pure_dict(nnx.state(self.model, nnx.Param))

    @property
    def opt_state(self):
        return nnx.as_pure(self.optimizer.opt_state)

    def step(self, images, labels):
        return nnx_step(self.model, self.optimizer, images, labels)

    def edit(self, **values):
        self.optimizer.opt_state = lrx.with_hyperparams(self.optimizer.opt_state, **values)

    def saved(self):
        modules = {"model": self.model, "optimizer": self.optimizer}
        return {name: nnx.to_pure_dict(nnx.state(module)) for name, module in modules.items()}

    def load(self, saved):
        nnx.update(self.model, saved["model"])
        nnx.update(self.optimizer, saved["optimizer"])

    def resume(self, raw):
        nnx.update(self.model, raw["model"])
        nnx.update(self.optimizer, {"step": raw["optimizer"]["step"]})
        opt_state = lrx.resume(self.optimizer.tx, self.params, raw["optimizer"]["opt_state"])
        nnx.update(self.optimizer.opt_state, nnx.state(opt_state))


# ---------------------------------------------------------------- Equinox


class EquinoxNet(eqx.Module):
    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.hidden, self.out = eqx.nn.Linear(64, 16, key=first), eqx.nn.Linear(16, 10, key=second)

    def __call__(self, image):
        return self.out(jax.nn.relu(self.hidden(image)))


equinox_init = eqx.filter_jit(EquinoxNet)


@eqx.filter_jit(donate="all-except-first")
def equinox_step(batch, model, opt_state, update):
    images, labels = batch
    loss, grads = eqx.filter_value_and_grad(lambda model: cross_entropy(jax.vmap(model)(images), labels))(model)
    updates, opt_state = update(grads, opt_state, eqx.filter(model, eqx.is_inexact_array))
    return eqx.apply_updates(model, updates), opt_state, loss


class Equinox(Run):
    kernel = "hidden.weight"

    def __init__(self, tx, seed=0):
        self.tx, self.params = tx, equinox_init(jax.random.key(seed))
        self.opt_state = tx.init(eqx.filter(self.params, eqx.is_inexact_array))

    def step(self, images, labels):
        batch = images, labels
        self.params, self.opt_state, loss = equinox_step(batch, self.params, self.opt_state, self.tx.update)
        return loss

    def resume(self, raw):
        model = jax.tree_util.tree_map_with_path(
            lambda path, _: functools.reduce(lambda tree, key: tree[key.name], path, raw["params"]), self.params
        )
        super().resume({**raw, "params": model})

    def to_bytes(self):
        file = io.BytesIO()
        eqx.tree_serialise_leaves(file, self.saved())
        return file.getvalue()

    def from_bytes(self, data):
        self.load(eqx.tree_deserialise_leaves(io.BytesIO(data), self.saved()))


LOOPS = [Bare, Linen, NNX, Haiku, Equinox]
