"""A verdict in two sentences."""

from collections.abc import Mapping

SEEN = {
    "too_low": "The learning rate is too low: the loss still falls steadily, or has hardly begun to.",
    "fine": "The learning rate looks fine.",
    "oscillating": "The learning rate is too high: the loss is held up by steps that are too long.",
    "diverging": "The learning rate is too high: the loss diverges.",
    "dead": "The run no longer learns: the loss stands still where it began or above, as after steps far too long.",
    "unknown": "This record does not show whether the learning rate is right.",
}
BESIDE_BEST = {
    "too_low": "The learning rate is too low: the run is behind the best one and follows it more slowly.",
    "fine": "The learning rate is fine: the run keeps up with the best one.",
    "oscillating": "The learning rate is too high: the run stays above the best one and does not settle.",
}
OVERFITS = "The run overfits: the validation loss has risen again by {:.0%} of its descent, since {:.0%} of the record."
LOST = 0.2
"""From this share on."""
BEGINS_LATE = "The record begins after {:.2g}% of the steps: what falls slowly then may have fallen fast before."
LATE = 0.01
"""A record without this share of the run's first steps lacks the fast fall. From here on good rates look too low: in
runs of 400 steps twice as often as with their start."""
FROM_THE_START = "Give the log from the first step, or beside it the record of a better run and the rates of both."


def text(
    label: str, factor: float, evidence: Mapping[str, float], interval: tuple[float, float] = (0.0, float("inf"))
) -> str:
    """What is seen, and what to do."""
    seen = (BESIDE_BEST if "gap" in evidence else SEEN).get(label, SEEN[label])
    late = label == "unknown" and evidence["missing"] > LATE
    seen = BEGINS_LATE.format(100 * evidence["missing"]) if late else seen
    if evidence["overfitting"] > LOST:
        told = OVERFITS.format(evidence["overfitting"], evidence["overfits_from"])
        if label in ("fine", "unknown", "too_low"):
            return f"{told} That is no fault of the rate: stop earlier, regularize, or get more data."
        return f"{seen} {told}"
    return f"{seen} {FROM_THE_START if late else todo(label, factor, interval)}"


def todo(label: str, factor: float, interval: tuple[float, float]) -> str:
    """What to do."""
    if label == "unknown":
        return "Train longer, or give the learning rates or the record of a better run."
    if label == "fine" and interval[0] <= 1 <= interval[1]:
        return "Keep it."
    if label == "fine":
        return f"About {number(factor)} times it may be a little better."
    if label == "dead":
        return f"Start again with about {number(factor)} times the rate."
    return f"Try about {number(factor)} times it."


def number(x: float) -> str:
    """Two digits."""
    return f"{x:.2g}" if x < 100 else f"{float(f'{x:.1g}'):.0f}"
