"""The table, as Markdown, and the picture."""

from typing import Any

import numpy as np

from lrx.charts import COLOURS, FAINT, INK

from .score import WITHIN
from .train import LOSSES

RIGHT_EDGE = 100.0


def table(rows: dict[str, Any], by: str) -> str:
    """One loss, a line for each method."""
    lines = [
        f"| {by} loss | runs | seconds | ratio, median | within 5 % | worst | regret, mean | worst | log10 rate/best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        s = row[by]
        cells = [
            name,
            f"{row['choose_runs']:.2g} + 1",
            f"{row['choose_seconds']:.1f} + {row['train_seconds']:.1f}",
            with_interval(s["ratio_median"], number),
            with_interval(s["ratio_within_5_percent"], lambda x: f"{100 * x:.0f} %"),
            number(s["ratio_worst"][0]),
            with_interval(s["regret_mean"], lambda x: f"{x:.3f}"),
            f"{s['regret_worst'][0]:.3f}",
            with_interval(s["log10_rate_median"], lambda x: f"{x:+.2f}") if "log10_rate_median" in s else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(x: float) -> str:
    """A ratio: three digits."""
    return f"{x:.2f}" if x < 9.995 else f"{x:.3g}"


def with_interval(triple: Any, form: Any) -> str:
    """A value and its interval."""
    value, low, high = map(form, triple)
    return f"{value} [{low}, {high}]"


def picture(rows: dict[str, Any]) -> Any:
    """Each method's ratio on each task, on a log axis; a bar at the median. Needs matplotlib; returns the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.6 + 0.34 * len(rows)), layout="constrained")
    for axes, by in zip(figure.subplots(1, len(LOSSES), sharey=True), LOSSES, strict=True):
        axes.axvspan(1 / WITHIN, WITHIN, color=FAINT, lw=0)
        for y, row in enumerate(rows.values()):
            ratio = np.array(list(row[by]["tasks"]["ratio"].values()))
            shown = np.minimum(ratio, RIGHT_EDGE)
            beyond = ratio > RIGHT_EDGE
            axes.plot(shown[~beyond], np.full((~beyond).sum(), y), "o", color=COLOURS[0], alpha=0.6, mew=0)
            axes.plot(shown[beyond], np.full(beyond.sum(), y), ">", color=COLOURS[1])
            axes.plot(np.median(shown), y, "|", color=INK, ms=16, mew=2)
        axes.set_xscale("log")
        axes.set_xlim(0.75, 1.2 * RIGHT_EDGE)
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.minorticks_off()
        axes.set_xlabel(f"final {by} loss / best swept")
        axes.grid(axis="x", color=FAINT, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes = figure.axes[0]
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    figure.suptitle("A dot for each task, a bar at the median; shaded: within 5 % of the best of 25 rates", fontsize=10)
    return figure
