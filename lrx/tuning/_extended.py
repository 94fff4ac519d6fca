"""A sweep of more rates, seeds or steps than a file holds: what is in the file is not trained again."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ._checkpoint import Checkpoint
from ._done import Progress
from ._engine import Engine
from ._full_runs import train
from ._grid import Grid
from ._layout import Layout

Arrays = dict[str, np.ndarray]

MORE = {"learning_rate", "values of the schedules", "seeds", "steps", "chunk_size, method and mesh"}
"""Arguments that may differ from those of the file, beside the values of further hyperparameters, given by member."""


def record_of(members: Grid, engine: Engine) -> Arrays:
    """What a complete sweep writes beside its results, so that another one can tell which members it has."""
    axes = np.asarray([len(members.coords[d]) for d in ("schedule", "learning_rate")])
    keys = np.stack([jax.random.key_data(engine.init_keys), jax.random.key_data(engine.batch_keys)], axis=1)
    return {
        "record_axes": axes,
        "record_rates": np.asarray(members.coords["learning_rate"], np.float32),
        "record_rows": members.rows,
        "record_keys": keys,
        **{f"record_of_{k}": v for k, v in members.hyperparams.items()},
    }


def extend(
    file: Checkpoint,
    members: Grid,
    record: Arrays,
    engine_of: Callable[[int], Engine],
    layout_of: Callable[[int], Layout],
    progress: Progress | None,
) -> None:
    """If the file holds a part of this sweep, train the rest and write the whole.

    A file of anything else is left as it is. What is trained on the way is in files of their own beside it.

    Args:
      file: of the sweep.
      members: of the sweep.
      record: of the sweep.
      engine_of: an engine for the seeds from a number on.
      layout_of: the layout of so many members.
      progress: called after each chunk.
    """
    old = file.load_other(MORE | set(members.hyperparams))
    part = None if old is None else _Part.of(old, members, record)
    if old is None or part is None:
        return
    count, steps = part.inside.sum(), members.rows.shape[1]
    losses = np.zeros((len(members.rows), len(record["record_keys"]), steps), np.float32)
    scores: Arrays = {}

    def put(chosen: np.ndarray, seeds: slice, trained: tuple[np.ndarray, Arrays]) -> None:
        losses[chosen, seeds] = trained[0]
        for name, x in trained[1].items():
            scores.setdefault(name, np.zeros(losses.shape[:2], x.dtype))[chosen, seeds] = x

    def run(name: str, chosen: np.ndarray, seeds: slice, begun: Arrays | None = None) -> None:
        engine, layout = engine_of(seeds.start or 0), layout_of(int(chosen.sum()))
        engine.init_keys, engine.batch_keys = (
            x[: (seeds.stop or len(record["record_keys"])) - (seeds.start or 0)]
            for x in (engine.init_keys, engine.batch_keys)
        )
        own = Checkpoint(file.path.with_name(f"{file.path.name}.{name}"), {**file.arguments, "part": name})
        if begun is not None and not own.path.exists():
            own.save(lambda: begun)
        hyper = {k: v[chosen] for k, v in members.hyperparams.items()}
        put(chosen, seeds, train(engine, members.rows[chosen], hyper, layout=layout, progress=progress, file=own))
        done.append(own.path)

    done: list[Path] = []
    end: Arrays = {}
    if part.steps < steps:
        state = {k: v for k, v in old.items() if k.startswith("leaf_")} | {"marks": old["marks"]}
        # what a run that stopped there would have written
        run("steps", part.inside, slice(0, part.seeds), state | {"chunks": part.losses})
    else:
        put(part.inside, slice(0, part.seeds), (part.losses, part.scores))
        if count == len(members.rows) and part.seeds == losses.shape[1]:
            end = {k: v for k, v in old.items() if k.startswith("leaf_")}
    if not part.inside.all():
        run("rates", ~part.inside, slice(0, losses.shape[1]))
    if part.seeds < losses.shape[1]:
        run("seeds", part.inside, slice(part.seeds, losses.shape[1]))
    results = {"losses": losses, "marks": old["marks"], **{f"score_{k}": v for k, v in scores.items()}}
    file.save(lambda: results | record | end)
    for path in done:
        path.unlink(missing_ok=True)


class _Part:
    """The results of a smaller sweep, in the order of a larger one."""

    def __init__(self, inside: np.ndarray, losses: np.ndarray, scores: Arrays):
        self.inside, self.losses, self.scores = inside, losses, scores
        """Which members of the larger one it has, [members]; losses [members inside, seeds, steps]."""
        self.seeds, self.steps = losses.shape[1:]

    @classmethod
    def of(cls, old: Arrays, members: Grid, record: Arrays) -> "_Part | None":
        """None if the old sweep is not complete, or no part of the new one."""
        names = {k for k in old if k.startswith("record_")}
        if names != set(record):
            return None
        (schedules, before), (theirs, now) = old["record_axes"], record["record_axes"]
        rates, all_rates = old["record_rates"].tolist(), record["record_rates"].tolist()
        if schedules != theirs or not set(rates) <= set(all_rates) or len(set(all_rates)) < len(all_rates):
            return None
        keys, steps = old["record_keys"], old["record_rows"].shape[1]
        if steps > members.rows.shape[1] or len(keys) > len(record["record_keys"]):
            return None
        if not np.array_equal(keys, record["record_keys"][: len(keys)]):
            return None
        others = len(old["record_rows"]) // (schedules * before)
        if others != len(members.rows) // (schedules * now):
            return None
        # members are in the order schedule, rate, others
        places = np.arange(len(members.rows)).reshape(schedules, now, others)
        order = places[:, [all_rates.index(x) for x in rates]].reshape(-1)
        if not np.array_equal(old["record_rows"], members.rows[order, :steps]):
            return None
        for name in names - {"record_axes", "record_rates", "record_rows", "record_keys"}:
            if not np.array_equal(old[name], record[name][order]):
                return None
        longer = steps < members.rows.shape[1]
        in_order = np.argsort(order, kind="stable")
        if longer and ("leaf_0" not in old or not np.array_equal(in_order, np.arange(len(order)))):
            return None
        inside = np.zeros(len(members.rows), bool)
        inside[order] = True
        scores = {k.removeprefix("score_"): v[in_order] for k, v in old.items() if k.startswith("score_")}
        return cls(inside, old["losses"][in_order], scores)
