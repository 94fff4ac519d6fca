"""The numbers of the verdict, fitted: logistic sums by Newton's method and median regressions, on bent lines."""

from pathlib import Path

import numpy as np

from lrx.diagnosis._verdict_model import Model

KNOTS = (1 / 3, 2 / 3)
"""The quantiles of a signal at which its line bends."""
BOUNDS = (0.002, 0.998)
"""The quantiles beyond which a signal counts no more: nothing is known there."""
RIDGE, RIDGE_OF_CORRECTION, ROUNDS = 5e-3, 1e-2, 6
CLASSES = ("too_low", "fine", "too_high")
CONFIDENT = 0.8


def bent(x: np.ndarray, knots: list[tuple[float, ...]]) -> np.ndarray:
    """Each signal within its bounds, and how far it is above each of its knots, [rows, columns]."""
    columns = []
    for j, (least, largest, *inner) in enumerate(knots):
        inside = np.clip(x[:, j], least, largest)
        columns += [inside, *(np.maximum(inside - k, 0) for k in inner)]
    return np.stack(columns, 1)


def places(column: np.ndarray) -> tuple[float, ...]:
    """The bounds of a signal and its knots."""
    inner = np.unique(np.round(np.quantile(column, KNOTS), 4))
    least, largest = np.round(np.quantile(column, BOUNDS), 4)
    return (float(least), float(largest), *(float(k) for k in inner if least < k < largest))


def logistic(a: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients of the first two classes against the third, [columns, 2], with a ridge."""
    n, p = a.shape
    w, target, ridge = np.zeros((p, 2)), np.eye(3)[y][:, :2], RIDGE * n * (np.arange(p) > 0)
    for _ in range(ROUNDS):
        shares = softmax(a @ w)
        slope = a.T @ ((shares[:, :2] - target) * weight[:, None]) + ridge[:, None] * w
        first, second, mixed = (
            (a * (weight * shares[:, i] * ((i == j) - shares[:, j]))[:, None].astype(np.float32)).T @ a
            for i, j in ((0, 0), (1, 1), (0, 1))
        )
        curvature = np.block([[first, mixed], [mixed, second]]).astype(np.float64) + np.diag(np.tile(ridge, 2) + 1e-6)
        step = np.linalg.solve(curvature, slope.T.ravel()).reshape(2, p).T
        w -= step
        if np.abs(step).max() < 1e-3:
            break
    return w


def softmax(scores: np.ndarray) -> np.ndarray:
    """The probabilities of three classes from the scores of two, [rows, 3]."""
    z = np.c_[scores, np.zeros(len(scores))]
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


def median_line(a: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Least absolute errors, by weighted squares."""
    weight, ridge = np.ones(len(a)), RIDGE_OF_CORRECTION * len(a) * (np.arange(a.shape[1]) > 0)
    c = np.zeros(a.shape[1])
    for _ in range(ROUNDS if len(a) else 0):
        weighted = a * weight[:, None].astype(np.float32)
        c = np.linalg.solve((weighted.T @ a).astype(np.float64) + np.diag(ridge + 1e-6), weighted.T @ z)
        weight = 1 / np.maximum(np.abs(a @ c - z), 0.05)
        weight /= weight.mean()
    return c


def fit(
    names: list[str], x: np.ndarray, y: np.ndarray, z: np.ndarray | None, weight: np.ndarray, prior: float = 1.0
) -> Model:
    """A model.

    Args:
      names: of the signals.
      x: the signals, [rows, signals].
      y: 0 too low, 1 fine, 2 too high, [rows].
      z: log10 of the right correction; NaN where it is not known. If None the model is for probabilities alone.
      weight: [rows]; the classes are balanced here.
      prior: how many times as probable as each of the others a fine rate is, before anything is seen.
    """
    total = np.array([weight[y == c].sum() for c in range(3)])
    weight = weight / total[y]
    weight = weight / weight.mean()
    knots = [places(column) for column in x.T]
    b = bent(x, knots)
    center, size = b.mean(0), b.std(0) + 1e-9
    a = np.c_[np.ones(len(b)), (b - center) / size].astype(np.float32)
    w = logistic(a, y, weight)
    known = np.zeros(len(y), bool) if z is None else np.isfinite(z)
    z = np.zeros(len(y)) if z is None else z
    lines = [median_line(a[known & (y == c)], z[known & (y == c)]) for c in range(3)]
    columns = np.stack([w[:, 0] - w[:, 1], -w[:, 1], *lines])  # the first two against fine
    columns[:2, 0] -= np.log(prior)
    slopes = columns[:, 1:] / size
    start = columns[:, 0] - slopes @ center
    curves, at = {}, 0
    for name, k in zip(names, knots, strict=True):
        width = len(k) - 1
        curves[name] = (k, *(tuple(np.round(s[at : at + width], 3).tolist()) for s in slopes))
        at += width
    model = Model(tuple(np.round(start, 4).tolist()), curves, {})
    return Model(model.start, curves, errors(model, x[known], z[known]) if known.any() else {})


def judge(model: Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`Model.judge` of many rows: probabilities and log10 of the corrections, both [rows, 3]."""
    b = bent(x, [c[0] for c in model.curves.values()])
    slopes = np.array([[s for c in model.curves.values() for s in c[i]] for i in range(1, 6)])
    sums = b @ slopes.T + np.array(model.start)
    odds = np.exp(np.clip(np.stack([sums[:, 0], np.zeros(len(x)), sums[:, 1]], 1), -50, 50))
    return odds / odds.sum(1, keepdims=True), sums[:, 2:]


def errors(model: Model, x: np.ndarray, z: np.ndarray) -> dict[str, tuple[tuple[float, float], ...]]:
    """The tenth and ninetieth percentile of the correction's error, where the verdict is less and more sure."""
    shares, corrections = judge(model, x)
    top, sure = shares.argmax(1), shares.max(1) > CONFIDENT
    rest = z - corrections[np.arange(len(x)), top]
    out = {}
    for c, name in enumerate(CLASSES):
        rows = [rest[(top == c) & (sure == s)] for s in (False, True)]
        out[name] = tuple(
            tuple(np.round(np.quantile(r, [0.1, 0.9]), 2).tolist()) if len(r) > 20 else (-1.0, 1.0) for r in rows
        )
    return out


def write(path: Path, models: dict[str, Model]) -> None:
    """The models as Python."""
    lines = [
        '"""The numbers of the verdict; written by `python -m benchmarks.doctor --fit`, which trains on its runs."""',
        "",
        "from ._verdict_model import Model",
        "",
        "# fmt: off",
    ]
    for name, m in models.items():
        lines += [f"{name} = Model(", f"    start={m.start},", "    curves={"]
        for signal, curve in m.curves.items():
            line = f'        "{signal}": ('
            for part in curve:
                shown = f"({', '.join(f'{x:g}' for x in part)},), "
                if len(line + shown) > 119:
                    lines.append(line.rstrip())
                    line = " " * 12
                line += shown
            lines.append(line.rstrip(", ") + "),")
        lines += ["    },", "    spread={"]
        lines += [f'        "{label}": {pairs},' for label, pairs in m.spread.items()]
        lines += ["    },", ")"]
    path.write_text("\n".join(lines) + "\n")
