"""A sweep of more rates, seeds or steps goes on from the file of a smaller one, and trains what is new."""

import functools
from typing import Any

import numpy as np
import pytest

import lrx
from lrx.tuning._engine import watching
from tests.tuning.bowl import validated

SMALL: dict[str, Any] = dict(learning_rate=[0.01, 0.5], momentum=[0.0, 0.9], seeds=2, steps=24)
BEFORE = 2 * 2 * 2 * 24


class Stop(Exception):
    pass


def trained(checkpoint=None, stop=None, **changes):
    """A sweep, and how many member-updates it made."""
    made = [0]

    def hear(losses):
        made[0] += losses.size
        if stop is not None and made[0] >= stop:
            raise Stop

    with watching(hear):
        return lrx.sweep(validated(), lrx.sgd, checkpoint=checkpoint, **{**SMALL, **changes}), made[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of the small sweep, as it was written."""
    file = tmp_path_factory.mktemp("small") / "state"
    trained(file)
    return file.read_bytes()


@pytest.fixture
def file(tmp_path, small):
    """The file of the small sweep."""
    path = tmp_path / "state"
    path.write_bytes(small)
    return path


@functools.cache
def at_once(**changes):
    return trained(**{k: list(v) if isinstance(v, tuple) else v for k, v in changes.items()})[0]


def alike(a, b, exactly=False):
    assert a.coords == b.coords
    compare = np.testing.assert_array_equal if exactly else functools.partial(np.testing.assert_allclose, rtol=1e-6)
    compare(a.losses, b.losses)
    for name in b.scores:
        compare(a.scores[name], b.scores[name])


CHANGES = [
    (dict(learning_rate=(0.1, 0.01, 0.5, 0.3)), BEFORE),
    (dict(seeds=3), BEFORE // 2),
    (dict(steps=40), BEFORE * 16 // 24),
    (dict(learning_rate=(0.01, 0.5, 1.0), seeds=3), 2 * 3 * 24 + 4 * 1 * 24),
]


@pytest.mark.parametrize(("change", "most"), CHANGES, ids=["rates", "seeds", "steps", "both"])
def test_what_is_there_is_not_trained_again(tmp_path, file, change, most):
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in change.items()}
    result, made = trained(file, **given)
    whole = at_once(**change)
    alike(result, whole, exactly="steps" in change)
    assert made == most == whole.losses.size - (BEFORE if made else 0)
    again, made = trained(file, **given)
    alike(again, result, exactly=True)
    assert made == 0 and [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("change", [dict(learning_rate=[0.01, 0.5, 1.0], seeds=3), dict(steps=40)], ids=str)
def test_an_extension_that_is_stopped_goes_on(file, change):
    stops = 0
    for _ in range(3):
        try:
            result, _ = trained(file, stop=40, **change)
            break
        except Stop:
            stops += 1
    else:
        result, _ = trained(file, **change)
    assert stops
    whole = at_once(**{k: tuple(v) if isinstance(v, list) else v for k, v in change.items()})
    alike(result, whole, exactly="steps" in change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(seeds=1), "seeds"),
        (dict(steps=12), "steps"),
        (dict(learning_rate=[0.01, 0.1]), "learning_rate"),
        (dict(momentum=[0.9, 0.0]), "momentum"),
        (dict(schedule={"cosine": lrx.cosine_decay_schedule}, steps=40), "schedule"),
        (dict(learning_rate=[0.01, 0.5, 1.0], key=3), "key"),
    ],
)
def test_what_is_no_extension_is_told(file, change, told):
    with pytest.raises(ValueError, match=rf"sweep\(checkpoint=...\) must be of a sweep with the same arg.*{told}"):
        trained(file, **change)


def test_a_schedule_that_depends_on_the_horizon_cannot_be_made_longer(tmp_path):
    file, cosine = tmp_path / "state", {"cosine": lrx.cosine_decay_schedule}
    trained(file, schedule=cosine)
    with pytest.raises(ValueError, match=r"different: values of the schedules.*steps"):
        trained(file, schedule=cosine, steps=40)
    result, made = trained(file, schedule=cosine, seeds=3)  # which is no matter for more seeds
    assert made == BEFORE // 2 and result.losses.shape[3] == 3
