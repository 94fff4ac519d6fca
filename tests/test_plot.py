"""Pictures: what is drawn, and that nothing else changes."""

import subprocess
import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import lrx
from lrx.charts import (
    counts_up_to,
    horizon,
    plot_losses,
    plot_range_test,
    plot_short_runs,
    rate,
    running_mean,
)
from lrx.schedules import _questions as questions

PNG = b"\x89PNG\r\n\x1a\n"
COSINE = lrx.cosine_decay_schedule(0.1, decay_steps=100)


def labels(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def made_sweep(final):
    """A sweep of rates 0.01, 0.1, 1 and schedules a, b, from final losses [rate, schedule, seed]."""
    final = np.asarray(final, np.float32)
    return lrx.Sweep(
        problem="made",
        dims=("learning_rate", "schedule", "seed", "step"),
        coords={"learning_rate": (0.01, 0.1, 1.0), "schedule": ("a", "b"), "seed": tuple(range(final.shape[-1]))},
        losses=np.repeat(final[..., None], 4, axis=-1),
        scores={"loss": 2 * final},
    )


# ---------------------------------------------------------------- schedules


def test_plot_draws_the_values_of_the_schedule():
    figure = lrx.plot(COSINE, steps=100)
    line, *landmarks = figure.axes[0].lines
    assert [list(mark.get_xdata()) for mark in landmarks]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(101))
    np.testing.assert_array_equal(line.get_ydata(), np.asarray(COSINE(jnp.arange(101)), np.float64))
    assert figure.axes[0].get_title(loc="left") == repr(COSINE)


def test_plot_takes_many_schedules_numbers_functions_and_a_dict():
    assert labels(lrx.plot(COSINE, 0.05, steps=10)) == ["cosine_decay", "constant"]
    assert labels(lrx.plot(COSINE, lambda count: 0.1 / (1 + count), steps=10, labels=["x", "y"])) == ["x", "y"]
    assert labels(lrx.plot({"x": COSINE, "y": 0.05}, steps=10)) == ["x", "y"]
    two = COSINE, lrx.cosine_decay_schedule(0.2, decay_steps=100)
    assert labels(lrx.plot(*two)) == [repr(s) for s in two]  # short names would not tell them apart
    assert len(labels(lrx.plot({str(i): 0.1 * i for i in range(9)}))) == 9


def test_plot_with_a_logarithmic_axis():
    assert lrx.plot(COSINE, log=True).axes[0].get_yscale() == "log"
    assert lrx.plot(COSINE).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lrx.plot(), r"plot\(schedules=...\) must be at least one"),
        (lambda: lrx.plot(COSINE, steps=0), r"plot\(steps=...\) must be positive, got 0"),
        (lambda: lrx.plot(COSINE, labels=["a", "b"]), r"plot\(labels=...\) must have one name for each of the 1"),
        (lambda: plot_losses({}), r"plot_losses\(records=...\) must hold at least one"),
        (lambda: plot_losses({"a": np.zeros((2, 0))}), r"plot_losses\(records=...\) must hold arrays"),
        (lambda: plot_losses({"a": np.ones(9)}, smooth=0), r"plot_losses\(smooth=...\) must be positive"),
        (
            lambda: plot_range_test(np.ones(2), np.full(2, np.nan)),
            r"\(losses=...\) must hold a finite loss",
        ),
        (lambda: plot_short_runs({}, 0.1, (0.05, 0.2)), r"plot_short_runs\(lines=...\) must be at least one"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (lrx.constant_schedule(0.1), 1000),
        (lrx.as_schedule(lambda count: 0.1), 1000),
        (COSINE, 110),
        (lrx.warmup_linear_schedule(0.1, 20, total_steps=100), 110),
        (lrx.piecewise_constant_schedule(0.1, {50: 0.5, 200: 0.5}), 220),
        (lrx.triangular_schedule(0.0, 0.1, half_cycle_steps=50), 200),
        (lrx.exponential_decay(0.1, 1, 0.999), 1024),
        (lrx.linear_schedule(0.1, 0.0, 2**31 - 1), 2**31 - 1),
    ],
)
def test_horizon_shows_what_happens(schedule, steps):
    assert horizon(schedule) == steps


def test_counts_are_whole_increasing_and_end_at_the_last_step():
    for steps in (1, 100, 10**6, 2**31 - 1):
        counts = counts_up_to(steps)
        assert counts[0] == 0 and counts[-1] == steps and counts.dtype == np.int64
        assert (np.diff(counts) > 0).all() and len(counts) <= 4096


# ---------------------------------------------------------------- the other pictures


def test_range_test_marks_the_rate_and_keeps_explosions_out():
    rates = np.geomspace(1e-5, 10, 50)
    losses = np.where(rates < 1, 2.0 - rates, 1e9 * rates)
    losses[-1] = np.nan
    figure = lrx.RangeTest(rates, losses).plot(0.03)
    assert "suggested 0.03" in labels(figure)
    assert figure.axes[0].get_ylim()[1] < 10 and figure.axes[0].get_xscale() == "log"
    assert not any("suggested" in text for text in labels(lrx.RangeTest(rates, losses).plot()))


def test_rounds_are_lines_with_the_suggestion_the_interval_and_the_parabola():
    rates = np.array([0.01, 0.1, 1.0])
    rounds = {
        "8 steps": (np.array([0.01, 0.1, 1.0, 10.0]), np.array([2.0, 1.5, np.inf, np.inf])),
        "50 steps": (rates, 0.1 * np.exp(np.log(rates / 0.2) ** 2 / 10)),
    }
    axes = plot_short_runs(rounds, 0.2, (0.1, 0.4)).axes[0]
    assert labels(axes.figure) == ["8 steps", "50 steps", "suggested 0.2", "diverged"]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2.0, 1.5, np.nan, np.nan])
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in crosses] == [[1.0, 10.0]]
    parabola = next(line for line in axes.lines if line.get_linestyle() == "--")
    lowest = np.argmin(parabola.get_ydata())
    assert parabola.get_xdata()[lowest] == pytest.approx(0.2, rel=0.1)
    assert parabola.get_ydata()[lowest] == pytest.approx(0.1, rel=1e-2)
    assert [list(patch.get_extents().transformed(axes.transData.inverted()).intervalx) for patch in axes.patches] == [
        pytest.approx([0.1, 0.4])
    ]


def test_every_line_of_a_sweep_is_within_the_limits():
    final = np.full((3, 2, 1), 0.001)
    final[:, 1] = 5.0
    axes = made_sweep(final).plot().axes[0]
    assert axes.get_ylim()[0] < 0.001 and axes.get_ylim()[1] > 5.0


def test_sweep_draws_means_bands_the_best_and_what_diverged():
    figure = made_sweep([[[4, 6], [8, 8]], [[1, 3], [2, 4]], [[np.nan, 1], [np.inf, np.inf]]]).plot()
    axes = figure.axes[0]
    assert labels(figure) == ["a", "b", "best: 0.1, a", "diverged"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [5, 2, np.nan])
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in crosses] == [[1.0], [1.0]]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    doubled = made_sweep([[[4, 6], [8, 8]], [[1, 3], [2, 4]], [[9, 9], [9, 9]]]).plot("validation")
    np.testing.assert_array_equal(doubled.axes[0].lines[0].get_ydata(), [10, 4, 18])
    assert labels(doubled) == ["a", "b", "best: 0.1, a"]


def test_sweep_in_which_all_diverged_or_losses_are_negative():
    assert made_sweep(np.full((3, 2, 2), np.nan)).plot()._repr_png_().startswith(PNG)
    assert made_sweep(-np.ones((3, 2, 2))).plot().axes[0].get_yscale() == "linear"


def test_sweep_with_further_hyperparameters_has_a_line_for_each():
    bowl = lrx.Problem(
        init=lambda key: jnp.ones(2),
        loss=lambda params, batch, key=None: jnp.sum(params**2),
        sample=lambda key: jnp.zeros(()),
    )
    result = lrx.sweep(bowl, lrx.adam, learning_rate=[0.01, 0.1], b1=[0.5, 0.9], steps=4)
    assert labels(result.plot())[:2] == ["constant, b1=0.5", "constant, b1=0.9"]


def test_losses_are_smoothed_and_explosions_kept_out():
    falling, exploding = np.exp(-np.arange(100) / 20), np.exp(np.minimum(np.arange(100.0), 60))
    figure = plot_losses({"falling": np.stack([falling, 2 * falling]), "exploding": exploding}, smooth=10)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata()[99], 1.5 * falling[90:].mean())
    assert axes.get_ylim()[1] < 100 and axes.get_yscale() == "log" and "mean over 10 steps" in axes.get_ylabel()
    assert plot_losses({"a": -falling}).axes[0].get_yscale() == "linear"


def test_a_spike_does_not_hide_the_losses():
    falling = np.exp(-np.arange(1000) / 100)
    spiked = np.where((np.arange(1000) > 0) & (np.arange(1000) < 20), 1e4, falling)
    low, high = plot_losses({"falling": falling, "spiked": spiked}).axes[0].get_ylim()
    assert 0 < low < falling.min() * 1.3 and 1 < high < 10


def test_running_mean():
    x = np.array([1.0, 2.0, 3.0, np.inf, 5.0])
    np.testing.assert_array_equal(running_mean(x, 2), [1.0, 1.5, 2.5, np.nan, np.nan])


def test_rates_in_three_digits():
    assert [rate(x) for x in (1e-3, 0.0031622776, 1e-5, 3.16e-7, 1.0, 10.0)] == [
        "0.001",
        "0.00316",
        "1e-5",
        "3.16e-7",
        "1",
        "10",
    ]


# ---------------------------------------------------------------- neighbours


def test_figures_are_of_one_size_and_show_in_jupyter():
    figure = lrx.plot(COSINE)
    assert tuple(figure.get_size_inches()) == (6.4, 4.0) and figure.dpi == 144
    assert figure._repr_png_().startswith(PNG)


def test_dollar_signs_in_names_are_no_formulas():
    lrx.plot(*[lrx.constant_schedule(1.0)] * 2, steps=5, labels=[r"$\frac$", "b$_$"])._repr_png_()
    lrx.plot(*[lrx.constant_schedule(1.0)] * 5, steps=5, labels=[r"$\frac$" + str(i) for i in range(5)])._repr_png_()
    lrx.plot(lrx.constant_schedule(1.0), steps=5, labels=["$x"])._repr_png_()


def test_nothing_global_changes():
    script = """if True:
        import sys, lrx
        assert "matplotlib" not in sys.modules
        import matplotlib
        def params():  # reading the backend would import pyplot
            return {k: str(matplotlib.rcParams[k]) for k in matplotlib.rcParams if k != "backend"}
        before = params()
        lrx.plot(lrx.constant_schedule(0.1), steps=100)._repr_png_()
        assert params() == before and "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_style_is_the_same_under_other_rcparams():
    with matplotlib.rc_context({"axes.facecolor": "black", "figure.facecolor": "black", "axes.labelcolor": "white"}):
        figure = lrx.plot(COSINE)
    assert figure.get_facecolor() == figure.axes[0].get_facecolor() == (1, 1, 1, 1)
    assert figure.axes[0].xaxis.label.get_color() == "#333333"


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "lrx\[plot\]"'):
        lrx.plot(COSINE)


def test_a_function_is_drawn_as_it_is_now_and_schedules_of_a_kind_by_one_program():
    peak = 0.5

    def fall(count):
        return peak / (1 + count)

    def highest(schedule):
        (line, *_) = lrx.plot(schedule, steps=10).axes[0].lines
        return line.get_ydata().max()

    schedules = fall, lrx.with_warmup(fall, 4), lrx.as_schedule(fall) * 1.0
    for peak in (0.5, 0.25):  # as a cell of a notebook changes it
        assert [highest(schedule) for schedule in schedules] == [peak] * 3
    before = questions._compiled._cache_size()
    for peak in (0.5, 0.25):
        assert highest(lrx.join_schedules([lrx.linear_schedule(peak, 0.0, 7), peak / 2], [3])) == peak
    assert questions._compiled._cache_size() == before + 1
