"""The report: its words, its files, and that it needs no other."""

import dataclasses
import html.parser
import re
import struct
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import lrx
from lrx.tuning import _report_words as report
from lrx.tuning._table import Score
from tests.tuning.bowl import validated

NAME = '<b>bowl</b> & "co"'


def bowl(evaluate=None):
    return lrx.Problem(
        init=lambda key: jnp.ones(2),
        loss=lambda params, batch, key=None: jnp.sum((params - 0.1 * batch) ** 2),
        sample=lambda key: jax.random.normal(key, (2,)),
        evaluate=evaluate,
        name=NAME,
    )


@pytest.fixture(scope="module")
def tuned():
    def evaluate(params):
        return {"loss": jnp.sum(params**2), "accuracy": 1 / (1 + jnp.sum(params**2))}

    names: dict[str, Any] = dict(optimizers=["sgd", "adam"], schedules=["constant", "linear"])
    return lrx.tune(bowl(evaluate), **names, budget=None, steps=20, seeds=2)


@pytest.fixture(scope="module")
def frugal():
    """Within a budget: three optimizers, whole runs of two."""
    names: dict[str, Any] = dict(optimizers=["sgd", "adam", "rmsprop"], schedules=["constant", "linear"])
    return lrx.tune(validated(), **names, budget=4, steps=200, by="training")


@pytest.fixture(scope="module")
def folder(tuned, tmp_path_factory):
    return tuned.report(tmp_path_factory.mktemp("report") / "new" / "folder").parent


class Page(html.parser.HTMLParser):
    """Tags, their attributes and the text of a page; unclosed tags fail."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tags, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def changed(tuned, ours, adams, seeds=2):
    """The same, with other losses on the fresh seeds."""
    retrained = dataclasses.replace(tuned.retrained, validation=Score(*ours))
    baseline = dataclasses.replace(tuned.baseline, validation=Score(*adams))
    return dataclasses.replace(tuned, retrained=retrained, baseline=baseline, seeds=seeds)


# ---------------------------------------------------------------- files


def test_the_folder_holds_what_it_should(folder):
    pictures = {"losses", "losses_by_schedule", "optimizers", "schedules", "short_runs", "sweep"}
    assert {p.name for p in folder.iterdir()} == {f"{p}.png" for p in pictures} | {"report.html", "schedule.json"}


def test_pictures_are_png_of_the_size_of_a_figure(folder):
    for path in folder.glob("*.png"):
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB\x60\x82")
        assert struct.unpack(">II", data[16:24]) == (921, 576)  # 6.4 × 4 inches at 144 dots


def test_schedule_json_is_the_chosen_schedule(tuned, folder):
    assert lrx.from_json((folder / "schedule.json").read_text()) == tuned.schedule


def test_the_page_needs_nothing_from_outside(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert len(sources) == 6 and all(x.startswith("data:image/png;base64,") for x in sources)
    assert not re.search(r"https?://|url\(|@import", (folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_has_the_answer_and_the_evidence(tuned, folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "b" not in page.tags and NAME in page.text  # escaped
    assert not re.search(r"\$\w", page.text)
    for text in (report.choice(tuned), report.comparison(tuned), report.code(tuned), *report.notes(tuned)):
        assert text in page.text
    assert page.tags.count("tr") == 1 + 2 + 2 + len(tuned.table)
    assert report.cost(tuned) in page.text and f"lrx {lrx.__version__}" in page.text
    assert "(shaded)" in page.text and "parabola" not in page.text  # the caption says what is drawn
    assert "prefers-color-scheme: dark" in page.text
    assert ("content", "width=device-width, initial-scale=1") in page.attributes


def test_a_function_of_the_users_is_said_to_be_missing(tmp_path):
    def mine(peak, steps):
        return lambda count: peak / (1 + count / steps)

    tuned = lrx.tune(bowl(), optimizers={"<i>": lrx.sgd}, schedules={"mine": mine}, budget=1 + 72 / 100, steps=100)
    page = Page(tuned.report(tmp_path).read_text(encoding="utf-8"))
    assert not (tmp_path / "schedule.json").exists() and "there is no schedule.json" in page.text
    assert "i" not in page.tags and "make_optimizer(schedule)  # your '<i>'" in page.text
    assert "accuracy" not in page.text and "no other combination had a whole run" in page.text
    assert not (tmp_path / "sweep.png").exists()  # of a single run


def test_a_report_within_a_budget_replaces_another(frugal, tmp_path):
    (tmp_path / "report.html").write_text("old")
    text = frugal.report(str(tmp_path)).read_text(encoding="utf-8")
    assert "old" not in text[:3]
    page = Page(text)
    assert {p.stem for p in tmp_path.glob("*.png")} == {"losses", "schedules", "short_runs", "sweep"}
    assert "fresh" not in page.text and page.tags.count("tr") == 1 + len(frugal.table)
    for text in (report.comparison(frugal), report.evidence(frugal), report.cost(frugal), *report.notes(frugal)):
        assert text in page.text


# ---------------------------------------------------------------- words


def test_the_code_makes_the_chosen_transformation(tuned):
    names = {}
    exec(report.code(tuned), names)
    assert names["schedule"] == getattr(tuned.schedule, "value", tuned.schedule)
    assert names["tx"] == tuned.transformation()


@pytest.mark.parametrize(
    ("schedule", "name", "optimizer", "expected"),
    [
        (lrx.constant_schedule(0.0031622776), "constant", "adam", "schedule = 0.0031622776\ntx = lrx.adam(schedule)"),
        (
            lrx.cosine_decay_schedule(0.13530477881431580, 500),
            "cosine",
            "sgd",
            "schedule = lrx.cosine_decay_schedule(init_value=0.13530478, decay_steps=500, alpha=0.0, exponent=1.0)\n"
            "tx = lrx.sgd(schedule, momentum=0.9)",
        ),
    ],
)
def test_code(tuned, schedule, name, optimizer, expected):
    make = report.OPTIMIZERS[optimizer]
    made = dataclasses.replace(tuned, schedule=schedule, schedule_name=name, optimizer=optimizer, make_optimizer=make)
    assert report.code(made) == f"import lrx\n\n{expected}"


@pytest.mark.parametrize(
    ("ours", "adams", "seeds", "expected"),
    [
        ((0.05, 0.005), (0.10, 0.005), 2, "50% lower, more than the spread over seeds."),
        ((0.099, 0.005), (0.10, 0.005), 2, "1% lower, which is within the spread over seeds"),
        ((0.12, 0.005), (0.10, 0.005), 2, "20% higher, more than the spread over seeds."),
        ((0.05, 0.0), (0.10, 0.0), 1, "50% lower; one seed has no spread to judge that by."),
        ((-2.0, 0.1), (-1.5, 0.1), 2, "0.5 lower, more than the spread over seeds."),
    ],
)
def test_the_comparison_claims_no_more_than_the_seeds_show(tuned, ours, adams, seeds, expected):
    assert expected in report.comparison(changed(tuned, ours, adams, seeds))


def test_a_budget_is_told_with_what_was_spent_and_what_more_would_buy(frugal):
    low, high = map(report.rate, frugal.interval)
    said = report.evidence(frugal)
    assert said.startswith(f"The best peak is expected between {low} and {high}.") and "A budget of " in said
    sure, doubted = (
        dataclasses.replace(frugal, found=dataclasses.replace(frugal.found, doubt=doubt))
        for doubt in ("", "all is vain")
    )
    assert "weak evidence" not in report.evidence(sure)
    assert " The short runs are weak evidence: all is vain." in report.evidence(doubted)
    spent = dataclasses.replace(frugal, runs=2.98)
    assert report.cost(spent) == "2.98 of 4 runs of 200 steps, short ones included; seeds per combination: 1"


def test_the_runner_up_is_compared_without_a_claim(frugal):
    said = report.comparison(frugal)
    assert f"for the runner-up, {frugal.runner_up.optimizer}, linear, " in said
    assert said.startswith("On one seed its final training loss is ") and "no spread to judge that by" in said
    alone = dataclasses.replace(frugal, table=(frugal.table[0], *(r for r in frugal.table if r.steps < 200)))
    assert report.comparison(alone).endswith("; no other combination had a whole run.")


def test_rows_of_short_runs_are_marked(frugal):
    short = [row for row in frugal.table if row.steps != 200]
    assert len(short) == 1 and short[0].verdict == "short runs"
    cell = report.columns(frugal)["training loss"]
    assert [cell(row).endswith("‡") for row in frugal.table] == [row in short for row in frugal.table]
    note = f"‡ Short runs of {short[0].steps} steps; not to be compared with whole ones."
    assert note in report.notes(frugal) and not any("†" in line for line in report.notes(frugal))


def test_rivals_are_counted(tuned):
    best = dataclasses.replace(tuned.table[0], validation=Score(1.0, 0.1))
    near, far = (dataclasses.replace(best, validation=Score(mean, 0.1)) for mean in (1.1, 2.0))
    said = report.rivals(dataclasses.replace(tuned, table=(best, near, far)))
    assert said == "Of the other 2 combinations, 1 came within the spread over seeds."
    assert report.rivals(dataclasses.replace(tuned, table=(best,))) == ""


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (0.0499, 0.00495, "0.050 ± 0.005"),
        (0.00274, 0.00049, "0.0027 ± 0.0005"),
        (2.1, 0.2, "2.1 ± 0.2"),
        (98.33, 0.23, "98.3 ± 0.2"),
        (0.1412, 1e-9, "0.1412 ± 0.0000"),
        (1.0, 5.0, "1.0 ± 5.0"),
        (2913.0, 45.0, "2913 ± 45"),
        (2.74e-6, 4.9e-7, "(2.7 ± 0.5)e-6"),
        (3.1e7, 0.0, "3.10e7"),
        (0.1412, 0.0, "0.141"),
        (0.0, 0.0, "0.00"),
        (float("nan"), 0.0, "diverged"),
    ],
)
def test_plus_minus(mean, spread, expected):
    assert report.plus_minus(Score(mean, spread)) == expected


def test_floats_are_short_and_the_same_in_float32():
    text = "f(a=0.1353047788143158, b=25, c={10: 0.5}, d=1e-05, e=9.999999747378752e-06)"
    assert report.short_floats(text) == "f(a=0.13530478, b=25, c={10: 0.5}, d=1e-05, e=1e-05)"
