"""Wrappers and links of the contract tests: functions from an optimizer to a transformation around it."""

import optax

import lrx

MASK = {"w": True, "b": False}
LABELS = {"w": "body", "b": "head"}

WRAPPERS = {
    "accumulate": lambda tx: lrx.accumulate(tx, 2),
    "apply_if_finite": lambda tx: lrx.apply_if_finite(tx, 2),
    "cautious": lrx.cautious,
    "lookahead": lambda tx: lrx.lookahead(tx, 2, 0.5),
    "lookahead_reset": lambda tx: lrx.lookahead(tx, 2, 0.5, reset_state=True),
    "masked": lambda tx: lrx.masked(tx, MASK),
    "master_weights": lrx.master_weights,
    "master_weights_kahan": lambda tx: lrx.master_weights(tx, "kahan"),
    "master_weights_stochastic": lambda tx: lrx.master_weights(tx, "stochastic"),
    "monitor": lrx.monitor,
    "partition": lambda tx: lrx.partition({"body": tx, "head": lrx.freeze(True)}, LABELS),
    "per_layer": lambda tx: lrx.per_layer(tx, where={"w": True, "b": False}),
    "skip_spikes": lambda tx: lrx.skip_spikes(tx, window=32),
    "with_weight_decay": lambda tx: lrx.with_weight_decay(tx, 0.1, MASK, law="squared", max_learning_rate=1.0),
    "chain": lambda tx: lrx.chain(lrx.clip(1.0), tx, lrx.params_ema(0.9)),
    "named_chain": lambda tx: lrx.named_chain(("clip", lrx.clip(1.0)), ("step", tx)),
    "polynomial_averaging": lambda tx: lrx.chain(lrx.clip_by_global_norm(1.0), tx, lrx.polynomial_averaging()),
    "layer_wise_decay": lambda tx: lrx.chain(
        tx, lrx.layer_wise_decay(0.5, {"w": 0, "b": 1}), lrx.by_multiplier({"w": 1, "b": 0.5})
    ),
    "adaptive_grad_clip": lambda tx: lrx.chain(lrx.adaptive_grad_clip(0.1), tx, lrx.freeze({"w": False, "b": True})),
    "sam": lambda tx: lrx.sam(tx, lrx.chain(lrx.normalize_by_update_norm(), lrx.scale(0.05))),
    "scaled": lambda tx: lrx.chain(
        *(lrx.zero_nans(), lrx.centralize(), lrx.normalize_by_update_norm(0.5), tx, lrx.scale_by_param_block_norm()),
        *(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.5, 9, 1000)), lrx.scale(0.5)),  # 1: the rate read is tx's
    ),
    "normalize": lambda tx: lrx.chain(lrx.normalize(), tx),
    "nested": lambda tx: lrx.accumulate(lrx.apply_if_finite(lrx.cautious(lrx.masked(tx, MASK)), 2), 2),
    "optax_inside": lambda tx: lrx.accumulate(optax.chain(optax.clip(1.0), tx), 2),
    "inside_optax": lambda tx: optax.chain(optax.clip(1.0), lrx.accumulate(tx, 2)),
}
# whose memory is not shaped like the parameters, so that `optax.tree_map_params` refuses it
JOINED = {"pack": lrx.pack}
