"""The pictures of the guide for newcomers, drawn by lrx from training on digits."""

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import lrx

RATES = np.geomspace(1e-5, 1.0, 21)
SHOWN = {"too low": 0.01, "good": 0.3, "too high": 1.0, "far too high": 6.0}
COLOURS = "#0072b2", "#009e73", "#e69f00", "#d55e00"
GREY = "#7a7a7a"


def _axes(x: str, y: str, width: float = 6.4, height: float = 2.9) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.tick_params(colors=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    return figure, axes


def _svg(figure: Figure, axes: Any) -> bytes:
    if axes.get_legend_handles_labels()[0]:
        figure.legend(frameon=False, labelcolor=GREY, loc="outside right upper")
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def _curves(schedules: dict[str, Any], steps: int) -> bytes:
    figure, axes = _axes("steps", "learning rate", height=2.4)
    counts = np.arange(steps + 1)
    for i, (name, schedule) in enumerate(schedules.items()):
        colour = COLOURS[i % 4]
        axes.plot(counts, np.asarray(schedule(counts)), label=name, color=colour, linestyle="-" if i < 4 else "--")
    axes.set_ylim(bottom=0)
    return _svg(figure, axes)


def pictures() -> dict[str, bytes]:
    """File name -> SVG."""
    problem, steps = lrx.problems.digits(), 300
    four = lrx.sweep(problem, lrx.sgd, learning_rate=list(SHOWN.values()), steps=steps)
    figure, axes = _axes("steps", "training loss")
    for name, colour, losses in zip(SHOWN, COLOURS, four.losses[:, 0, 0], strict=True):
        smooth = np.convolve(losses, np.ones(5) / 5, "valid")
        axes.plot(np.minimum(smooth, 100), color=colour, label=f"{name}: {SHOWN[name]:g}")
    axes.set(yscale="log", ylim=(1e-2, 60))
    made = {"four-rates.svg": _svg(figure, axes)}

    valley = lrx.sweep(problem, lrx.adam, learning_rate=RATES, steps=steps)
    figure, axes = _axes("learning rate", "final training loss")
    axes.plot(RATES, valley.final[:, 0, 0], color=COLOURS[0], marker="o", markersize=3)
    axes.set(xscale="log", yscale="log", ylim=(5e-3, 30))
    made["valley.svg"] = _svg(figure, axes)

    made["decays.svg"] = _curves(
        {
            "linear to zero": lrx.warmup_linear_schedule(1.0, 50, total_steps=1000),
            "cosine": lrx.warmup_cosine_decay_schedule(0.0, 1.0, 50, 1000),
            "exponential": lrx.exponential_decay(1.0, 250, 0.5),
            "step decay": lrx.step_decay_schedule(1.0, 250),
            "warmup, stable, decay": lrx.wsd_schedule(1.0, 50, decay_steps=200, total_steps=1000),
        },
        1000,
    )
    made["cycles.svg"] = _curves(
        {
            "triangular": lrx.triangular_schedule(0.1, 1.0, half_cycle_steps=125),
            "cyclic annealing": lrx.cyclic_annealing_schedule(0.8, 0.05, cycle_steps=250, shape="cosine"),
            "one cycle": lrx.cosine_onecycle_schedule(1000, 1.0),
        },
        1000,
    )
    return made
