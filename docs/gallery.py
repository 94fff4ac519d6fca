"""Draw every schedule of lrx in one picture: `python docs/gallery.py` writes docs/gallery.png."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

import lrx

STEPS, WARMUP = 1000, 100
cosine = lrx.cosine_decay_schedule(1.0, STEPS)

GALLERY = {
    "constant": lrx.constant_schedule(0.5),
    "linear": lrx.linear_schedule(1.0, 0.0, STEPS),
    "polynomial, power 2": lrx.polynomial_schedule(1.0, 0.0, 2.0, STEPS),
    "polynomial cycles": lrx.polynomial_cycles_schedule(1.0, 0.05, power=1.0, cycle_steps=300),
    "exponential": lrx.exponential_decay(1.0, 250, 0.5),
    "exponential, staircase": lrx.exponential_decay(1.0, 250, 0.5, staircase=True),
    "step decay": lrx.step_decay_schedule(1.0, 200),
    "piecewise constant": lrx.piecewise_constant_schedule(1.0, {400: 0.5, 700: 0.2}),
    "piecewise value": lrx.piecewise_value_schedule([300, 800], [0.4, 1.0, 0.1]),
    "piecewise interpolate": lrx.piecewise_interpolate_schedule("linear", 0.2, {300: 5.0, 800: 0.1}),
    "cosine": cosine,
    "cosine, exponent 3": lrx.cosine_decay_schedule(1.0, STEPS, alpha=0.1, exponent=3.0),
    "warmup constant": lrx.warmup_constant_schedule(0.0, 1.0, WARMUP),
    "warmup cosine": lrx.warmup_cosine_decay_schedule(0.0, 1.0, WARMUP, STEPS),
    "warmup exponential": lrx.warmup_exponential_decay_schedule(0.0, 1.0, WARMUP, 200, 0.5),
    "warmup linear": lrx.warmup_linear_schedule(1.0, WARMUP, total_steps=STEPS),
    "inverse time": lrx.inverse_time_schedule(1.0, 100, decay_rate=1.0),
    "inverse sqrt": lrx.inverse_sqrt_schedule(1.0, WARMUP),
    "Noam": lrx.noam_schedule(512, WARMUP, scale=226.0),
    "WSD, 1-sqrt": lrx.wsd_schedule(1.0, WARMUP, decay_steps=250, total_steps=STEPS),
    "WSD, mirror cosine": lrx.wsd_schedule(1.0, WARMUP, decay_steps=250, total_steps=STEPS, shape="mirror-cosine"),
    "REX": lrx.rex_schedule(1.0, STEPS),
    "knee": lrx.knee_schedule(1.0, STEPS, knee_fraction=0.6, warmup_steps=WARMUP),
    "tanh": lrx.tanh_schedule(1.0, STEPS),
    "k-decay, k = 3": lrx.k_decay_schedule(1.0, STEPS, k=3.0),
    "k-decay, k = 3, power 2": lrx.k_decay_schedule(1.0, STEPS, k=3.0, power=2.0),
    "flat cosine": lrx.flat_cosine_schedule(1.0, STEPS),
    "power": lrx.power_schedule(1.0, WARMUP, a=4.6, b=-0.51, batch_size=2),
    "infinite": lrx.infinite_schedule(1.0, WARMUP, cooldown_steps=500, constant_value=0.3),
    "linear one-cycle": lrx.linear_onecycle_schedule(STEPS, 1.0),
    "cosine one-cycle": lrx.cosine_onecycle_schedule(STEPS, 1.0),
    "torch's one-cycle, three-phase": lrx.torch_onecycle_schedule(1.0, STEPS, three_phase=True),
    "fastai's one-cycle": lrx.fastai_onecycle_schedule(1.0, STEPS),
    "triangular": lrx.triangular_schedule(0.1, 1.0, half_cycle_steps=125),
    "triangular2": lrx.triangular_schedule(0.1, 1.0, half_cycle_steps=125, mode="triangular2"),
    "exp_range": lrx.triangular_schedule(0.1, 1.0, half_cycle_steps=125, mode="exp_range", gamma=0.998),
    "cyclic annealing": lrx.cyclic_annealing_schedule(1.0, 0.05, cycle_steps=250, peak_multiplier=0.7),
    "SGDR": lrx.cyclic_annealing_schedule(1.0, 0.0, cycle_steps=143, shape="cosine", length_multiplier=2.0),
    "Chebyshev": lrx.chebyshev_schedule(0.05, 1.0, total_steps=64),
    "knots, monotone cubic": lrx.interpolated_schedule([0, 200, 500, 1000], [0.1, 1.0, 0.4, 0.0], kind="cubic"),
    "noisy": lrx.noisy(cosine, scale=0.05, key=jax.random.key(0)),
    "with_warmup + with_cooldown": lrx.with_cooldown(
        lrx.with_warmup(lrx.constant_schedule(0.8), WARMUP, shape="cosine"), start=700, steps=300, shape="1-sqrt"
    ),
    "0.5 * cosine + triangular": 0.5 * cosine + 0.4 * lrx.triangular_schedule(0.0, 1.0, half_cycle_steps=50),
    "repeat": lrx.repeat(lrx.linear_schedule(1.0, 0.0, 300), 250),
    "every": lrx.every(lrx.linear_schedule(1.0, 0.0, 10), 100),
    "start_at": lrx.start_at(cosine, 400),
}


def draw(columns: int = 6) -> Figure:
    """One small picture for each schedule."""
    rows = -(-len(GALLERY) // columns)
    figure = Figure(figsize=(2.1 * columns, 1.45 * rows), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns).ravel()
    for a in axes:
        a.set_axis_off()
    for a, (name, schedule) in zip(axes, GALLERY.items(), strict=False):
        steps = 64 if name == "Chebyshev" else STEPS
        counts = np.arange(steps + 1)
        a.set_axis_on()
        a.plot(counts, np.asarray(schedule(counts)), color="#0072b2", linewidth=1.3, drawstyle="steps-post")
        a.set_title(name, fontsize=8, loc="left", pad=3)
        a.set_xticks([])
        a.set_yticks([])
        a.set_ylim(bottom=0)
        a.spines[["top", "right"]].set_visible(False)
        a.spines[["left", "bottom"]].set_color("#bbbbbb")
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_name("gallery.png"))
