"""The factories that lrx and optax both have."""

from dataclasses import dataclass, field
from typing import Any

import optax

import lrx


@dataclass(frozen=True)
class Twin:
    """A factory that both libraries have, by path, and how to call it."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    not_edited: tuple[str, ...] = ()
    tolerance: float = 5e-5
    """Of the parameters after 50 steps, relative to how far they went."""
    since: str = "0.2.5"
    """The version in which optax has it first."""

    def factory(self, library):
        place = library if library is lrx or hasattr(optax, self.name) else optax.contrib
        return getattr(place, self.name)


RATE = {"learning_rate": 0.01}
SCHEDULED = {"learning_rate": optax.linear_schedule(0.02, 0.001, 40)}
TWINS = [
    Twin("sgd", RATE | {"momentum": 0.9}),
    Twin("sgd", SCHEDULED),
    Twin("sign_sgd", RATE),
    Twin("adagrad", RATE),
    Twin("adadelta", {"learning_rate": 0.5}),
    Twin("rmsprop", RATE | {"momentum": 0.5}),
    Twin("adam", RATE),
    Twin("adam", {"learning_rate": lrx.cosine_decay_schedule(0.02, 40), "b1": optax.linear_schedule(0.5, 0.9, 30)}),
    Twin("adamw", SCHEDULED | {"weight_decay": 0.1}),
    Twin("adamax", RATE),
    Twin("adamaxw", RATE),
    Twin("nadam", RATE),
    Twin("nadamw", RATE),
    Twin("amsgrad", RATE),
    Twin("radam", RATE),
    Twin("adabelief", RATE),
    Twin("yogi", RATE),
    Twin("adan", RATE | {"weight_decay": 0.1}),
    Twin("lion", {"learning_rate": 1e-3}),
    Twin("lars", {"learning_rate": 0.1, "weight_decay": 0.1}),
    Twin("lamb", RATE | {"weight_decay": 0.1}),
    Twin("novograd", RATE),
    Twin("sm3", RATE),
    Twin("rprop", RATE, not_edited=("learning_rate",)),  # optax's counts in init alone
    Twin("adafactor", RATE, static=("min_dim_size_to_factor", "factored", "decay_offset")),
    Twin("ademamix", RATE),
    Twin("adopt", RATE, static=("clip_value_fn",)),
    Twin("prodigy", {"learning_rate": 1.0}),
    Twin("dadapt_adamw", {"learning_rate": 1.0}),
    Twin("momo", RATE),
    Twin("momo_adam", RATE),
    Twin("cocob", {"learning_rate": 1.0}, not_edited=("learning_rate",)),  # a rate that changes is lrx's own
    Twin("signum", RATE, since="0.2.7"),
    # optax forgets by which b1 the parameters were mixed: the average jumps where b1 changes
    Twin("schedule_free_sgd", RATE, not_edited=("b1",)),
    Twin("schedule_free_adamw", RATE, not_edited=("b1",)),
    Twin("acprop", RATE),
    Twin("scale_by_simplified_ademamix", static=("alpha",)),
    Twin("scale_by_madgrad", RATE),
    Twin("simplified_ademamix", {"learning_rate": 1e-3}, static=("alpha",)),
    Twin("madgrad", RATE),
    Twin("muon", RATE | {"adam_learning_rate": 1e-3}, static=("ns_steps", "ns_coeffs")),
    Twin("trace", {"decay": 0.9}),
    Twin("ema", {"decay": 0.9}),
    Twin("clip", {"max_delta": 0.3}),
    Twin("clip_by_global_norm", {"max_norm": 0.3}),
    Twin("clip_by_block_rms", {"threshold": 0.3}),
    Twin("adaptive_grad_clip", {"clipping": 0.1}),
    Twin("add_decayed_weights", {"weight_decay": 0.1}),
    Twin("scale_by_learning_rate", RATE),
    Twin("scale", {"step_size": 0.5}),
    Twin("scale_by_schedule", {"step_size_fn": optax.linear_schedule(1.0, 0.1, 40)}, static=("step_size_fn",)),
    Twin("normalize_by_update_norm"),
    Twin("optimistic_gradient_descent", RATE),
    Twin("scale_by_optimistic_gradient"),
    Twin("optimistic_adam_v2", RATE),
    Twin("fromage", RATE),
    Twin("noisy_sgd", RATE | {"key": 3}, static=("key",)),
    Twin("add_noise", {"eta": 0.1, "gamma": 0.5, "key": 3}, static=("key",)),
    Twin("scale_by_lbfgs", {"memory_size": 4}, static=("memory_size", "scale_init_precond")),
    Twin("polyak_sgd"),
    Twin("scale_by_polyak"),
    Twin("scale_by_distance_over_gradients", {"reps_rel": 0.1, "global_scale": 1.0}, static=("param_dtype",)),
    Twin("centralize"),
    Twin("zero_nans"),
]
TWINS += [
    Twin(f"scale_by_{rule}")
    for rule in [
        "acprop",
        "adadelta",
        "adam",
        "adamax",
        "adan",
        "ademamix",
        "amsgrad",
        "belief",
        "lion",
        "novograd",
        "param_block_norm",
        "param_block_rms",
        "radam",
        "rms",
        "rss",
        "sign",
        "stddev",
        "trust_ratio",
        "yogi",
    ]
]
