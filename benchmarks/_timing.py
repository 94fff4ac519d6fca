"""Paired timing: the candidates take turns in one process, so that other load on the machine affects all of them."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


def paired(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, `rounds` times each, in turns. The order is reversed each time."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds):
        order = list(contestants.items())
        for name, call in order if i % 2 == 0 else reversed(order):
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return times


def ratio(times: dict[str, list[float]], name: str, base: str) -> tuple[float, float, float]:
    """Median of the paired ratios name / base, with their quartiles."""
    ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return statistics.median(ratios), low, high


def machine() -> dict[str, Any]:
    """The machine and the versions that were measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def write(path: str | None, results: Any) -> None:
    """The results as JSON, with the machine."""
    if path:
        Path(path).write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
