"""Text that may come from anywhere: whatever is wrong with it is a ValueError."""

import json
import random

import pytest

import lrx
from lrx.evidence.loss_law import LossLaw

SEARCH = lrx.Search(steps=1000)
while len(SEARCH.to_json()) < 1500:
    trial = SEARCH.ask()
    SEARCH.tell(trial, [1.0 - i * 1e-3 for i in range(trial.steps)])
WSD = lrx.wsd_schedule(0.1, warmup_steps=5, stable_steps=20, decay_steps=10)
PARAMS = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 400.0, "C": 2.0, "beta": 0.6, "gamma": 0.6}
LAW = LossLaw("multi-power", PARAMS, 0.99, 0.001, 0.01, 10, 0.01)
READERS = {
    "schedule": (lrx.from_json, (0.5 * lrx.with_warmup(WSD, 5)).to_json()),
    "search": (lrx.Search.from_json, SEARCH.to_json()),
    "law": (LossLaw.from_json, LAW.to_json()),
}
HOSTILE = [
    *("", " ", "null", "[]", "{}", "1", '"x"', "nan", "NaN", "{", "\x00", "\ud800", "1e400", "9" * 5000),
    *("[" * 100_000, '{"a":' * 50_000, "[" * 90 + "]" * 90, '{"lrx": 1, "lrx": 1, "schedule": 1}'),
]
VALUES = ["null", "-1", "1e308", "1e400", "NaN", "9" * 400, '"x"', "[]", "{}", "true", "0.5", '"' + "y" * 10_000 + '"']


@pytest.mark.parametrize("name", READERS)
def test_hostile_text_is_a_value_error(name):
    read, text = READERS[name]
    assert json.loads(read(text).to_json()) == json.loads(text)
    for wrong in HOSTILE:
        with pytest.raises(ValueError):
            read(wrong)
    with pytest.raises(TypeError):
        read(text.encode())


@pytest.mark.parametrize("name", READERS)
def test_a_changed_text_is_read_or_a_value_error_of_one_short_line(name):
    read, text = READERS[name]
    draw, refused = random.Random(0), 0
    for _ in range(300):
        place = draw.randrange(len(text))
        end = place + draw.randrange(8)
        changed = text[:place] + draw.choice(["", *VALUES, *text[:20]]) + text[end:]
        try:
            read(changed)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 4000
    assert refused > 100
