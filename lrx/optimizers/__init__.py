"""Optimizers, one algorithm a file: the rule, the `scale_by_x` that lifts it, and the ready-made `x`."""
