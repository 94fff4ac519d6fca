"""The style of all charts, and numbers in a few digits."""

import io
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B0589B", "#E69F00", "#56B4E9", "#6B6B6B")
"""Okabe and Ito's palette, which readers with any colour vision can distinguish."""
DASHES = ("-", "--", ":", "-.")
INK, FAINT = "#333333", "#DDDDDD"


def new_axes(x: str, y: str) -> tuple[Any, Any]:
    """An empty figure in the one style of all, whatever the user's rcParams are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "lrx[plot]"') from None
    figure = Figure(figsize=(6.4, 4.0), dpi=144, facecolor="white", layout="constrained")
    figure._repr_png_ = lambda: png(figure)  # type: ignore[attr-defined]  # Jupyter asks; pyplot's hook is global
    axes = figure.add_subplot(facecolor="white")
    axes.set_xlabel(x, fontsize=11, color=INK)
    axes.set_ylabel(y, fontsize=11, color=INK)
    axes.tick_params(which="both", labelsize=10, colors=INK, color=FAINT)
    axes.grid(True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    return figure, axes


def log_axis(axes: Any, name: str) -> None:
    """A logarithmic axis with plain numbers, three in a decade if there are few decades. Comes after the limits."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis, (low, high) = (axes.xaxis, axes.get_xlim()) if name == "x" else (axes.yaxis, axes.get_ylim())
    if high < 40 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda x, _: rate(x))
    axis.set_minor_formatter(NullFormatter())


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def line_style(i: int) -> dict[str, Any]:
    return {"color": colour(i), "linestyle": DASHES[i // len(COLOURS) % len(DASHES)], "linewidth": 1.8}


def legend(axes: Any) -> None:
    """Within the axes if it is short, else above them in columns."""
    style = {"fontsize": 9, "labelcolor": INK, "facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
    handles, names = axes.get_legend_handles_labels()
    if len(names) <= 4:
        made = axes.legend(**style)
    else:
        width = 6 + max(map(len, names))  # of a column, in letters
        place = {"loc": "outside upper left", "ncols": max(1, min(4, 84 // width))}
        made = axes.figure.legend(handles, names, **place, **style)
    for text in made.get_texts():
        text.set_parse_math(False)  # a user's name may hold dollar signs


def rate(x: float) -> str:
    """A learning rate to three digits, such as 0.00316 or 1e-5."""
    mantissa, _, exponent = f"{x:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
