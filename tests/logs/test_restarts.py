"""Steps that go back, repeated headers, lines that were cut off: what counts, and what is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx


def read(folder, text, **keywords):
    path = folder / "log.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return lrx.read_log(path, **keywords)


def rows(*pieces):
    return "step,loss\n" + "".join(f"{s},{x}\n" for piece in pieces for s, x in piece)


def test_after_a_restart_the_later_entries_count(tmp_path):
    log = read(tmp_path, "step,loss\n0,3\n10,2.5\n20,2.0\nstep,loss\n10,2.4\n20,1.9\n30,1.8\n")
    assert log.steps.tolist() == [0, 10, 20, 30]
    assert log.losses.tolist() == [3, 2.4, 1.9, 1.8]
    assert log.notes == (
        "At line 6 steps go back from 20 to 10, as after a restart: the later entries count, and of the earlier "
        "2 entries are left out.",
    )


def test_entries_beyond_a_restart_that_has_not_come_so_far_do_not_count(tmp_path):
    log = read(tmp_path, rows([(i, 9) for i in range(100)], [(i, 5) for i in range(60, 70)]))
    assert log.steps.tolist() == list(range(70))
    assert log.losses.tolist() == [9] * 60 + [5] * 10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=4))
def test_restarts_leave_what_the_run_itself_kept(pieces):
    """A run that goes back to a checkpoint forgets what came after it: so does its log."""
    kept, text, end = {}, [], 0
    for number, (back, length) in enumerate(pieces):
        begin = max(0, end - back)
        kept = {s: x for s, x in kept.items() if s < begin}
        for s in range(begin, begin + length):
            kept[s] = number + s / 64
            text.append((s, kept[s]))
        end = begin + length
    log = read_text(rows(text))
    assert dict(zip(log.steps.tolist(), log.losses.tolist(), strict=True)) == kept


def test_a_new_run_in_the_same_file_begins_it_anew(tmp_path):
    log = read(tmp_path, rows([(i, 9) for i in range(50)], [(i, 5) for i in range(20)]))
    assert log.losses.tolist() == [5] * 20


def test_pieces_in_another_order_and_twice(tmp_path):
    """As exports of resumed runs come, the newest first."""
    first = [(i, 5 - i / 50) for i in range(0, 100, 2)]
    second = [(i, 4 - i / 50) for i in range(90, 200, 2)]
    log = read(tmp_path, rows(second, first, first))
    assert log.steps.tolist() == list(range(0, 200, 2))
    assert log.losses.tolist() == [x for s, x in first if s < 90] + [x for _, x in second]
    assert log.notes[0] == "A piece of the log stood in it twice: the copies are left out."
    assert log.notes[1] == "The pieces of the log were not in the order of their steps: they are put in order."


def test_entries_in_no_order_are_sorted(tmp_path):
    order = np.random.default_rng(0).permutation(100)
    log = read(tmp_path, rows([(i, i / 8) for i in order]))
    np.testing.assert_array_equal(log.steps, np.arange(100))
    np.testing.assert_array_equal(log.losses, np.arange(100) / 8)
    assert "entries are sorted by step" in log.notes[0]


def test_of_entries_at_one_step_the_last_counts(tmp_path):
    log = read(tmp_path, "step,loss\n0,3\n1,2\n1,1.5\n2,1\n")
    assert log.losses.tolist() == [3, 1.5, 1]
    assert log.notes == ("One entry is left out for a later one at the same step.",)


def test_a_line_that_was_cut_off_at_the_end(tmp_path):
    for end in ("20,2.", "20", "20,2,1.2e-"):
        log = read(tmp_path, "step,loss,lr\n0,3,.1\n10,2.5,.1\n" + end)
        assert log.steps.tolist() == [0, 10]
        assert log.notes == ("Line 4, the last one, is cut off: it is left out.",)


def test_a_line_that_was_cut_off_by_a_restart(tmp_path):
    log = read(tmp_path, "step,loss,lr\n0,3,.1\n10,2.5,.1\n20,2.step,loss,lr\n10,2.25,.1\n20,2,.1\n")
    assert log.losses.tolist() == [3, 2.25, 2]
    assert log.notes[0] == "Line 4 was cut off where the header is repeated: it is left out."


def test_half_written_json(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo{"step": 2, "loss": 1}\n{"step": 3, "l'
    )
    log = lrx.read_log(path)
    assert (log.steps.tolist(), log.losses.tolist()) == ([1, 2], [3, 1])
    assert log.notes[:2] == (
        "Line 3 begins with an entry that was cut off: it is left out.",
        "Line 4, the last one, is cut off: it is left out.",
    )


def test_another_header_further_down(tmp_path):
    log = read(tmp_path, "step,loss\n0,3\n1,2\nlr,step,loss\n0.5,2,1.5\n0.25,3,1.25\n", learning_rate=False)
    assert (log.steps.tolist(), log.losses.tolist()) == ([0, 1, 2, 3], [3, 2, 1.5, 1.25])


def test_zero_bytes_where_the_machine_stopped(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"step,loss\n0,3\n1,2\n" + bytes(40))
    assert lrx.read_log(path).losses.tolist() == [3, 2]


# ---------------------------------------------------------------- round trips

NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1e-320, 1e308]))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 1000), NUMBERS, st.floats(0, 10)), min_size=2, max_size=20),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_numbers_come_back_from_csv(entries, delimiter, decimal_comma, quotes, end):
    steps = np.cumsum([s for s, _, _ in entries])
    losses, rates = np.array([x for _, x, _ in entries]), np.array([r for _, _, r in entries])
    lines = ["step,loss,lr".replace(",", delimiter)]
    for s, x, r in zip(steps, losses, rates, strict=True):
        cells = [str(s), repr(float(x)), repr(float(r))]
        if decimal_comma and delimiter != ",":
            cells = [c.replace(".", ",") for c in cells]
        lines.append(delimiter.join(f'"{c}"' if quotes else c for c in cells))
    log = read_text(end.join(lines) + end)
    np.testing.assert_array_equal(log.steps, steps)
    np.testing.assert_array_equal(log.losses, losses)
    np.testing.assert_array_equal(log.learning_rates, rates)


def read_text(text):
    from pathlib import Path

    from lrx.logs._delimited import read_delimited
    from lrx.logs._read import as_log

    return as_log(read_delimited(str(Path("log.csv")), text))


@pytest.mark.parametrize("k", [1, 7, 100])
def test_the_steps_of_a_run_that_logs_every_kth(k, tmp_path):
    assert read(tmp_path, rows([(k * i, 1) for i in range(1, 9)])).steps.tolist() == [k * i for i in range(1, 9)]
