"""Published rules: what their papers print, and the warning outside their range."""

import math

import numpy as np
import pytest

import lrx
from lrx import laws


def test_deepseek_gives_the_settings_of_deepseek_llm():
    """Table 2 of arXiv:2401.02954: 7B and 67B, 2.0 T tokens, sequences of 4,096."""
    for n_layer, d, rate, sequences in [(30, 4096, 4.2e-4, 2304), (95, 8192, 3.2e-4, 4608)]:
        compute = (72 * n_layer * d**2 + 12 * n_layer * d * 4096) * 2.0e12
        guess = laws.deepseek(compute)
        assert guess.learning_rate == pytest.approx(rate, rel=0.03)
        assert guess.batch_tokens == pytest.approx(sequences * 4096, rel=0.1)


MOONLIGHT = {0.399: (8.92, 9.503e-4, 96), 0.822: (20.76, 8.825e-4, 160), 1.5: (38.91, 8.305e-4, 256)}
"""Billions of parameters -> billions of tokens, rate, batch in sequences of 8,192."""


def test_moonlight_gives_the_settings_of_its_scaling_experiments():
    """Table 2 of arXiv:2502.16982, with C = 6 N D."""
    for n, (d, rate, sequences) in MOONLIGHT.items():
        guess = laws.moonlight(6 * n * d * 1e18)
        assert guess.learning_rate == pytest.approx(rate, rel=0.04)
        assert guess.batch_tokens == pytest.approx(sequences * 8192, rel=0.2)


def test_minicpm_gives_the_settings_of_minicpm():
    """Section 6.2 of arXiv:2404.06395: a rate of 0.01 and 3.93 million tokens, which are those of a loss of 2.5."""
    guess = laws.minicpm(2.5)
    assert guess.learning_rate == 0.01
    assert guess.batch_tokens == pytest.approx(3.93e6, rel=0.02)
    with pytest.warns(UserWarning, match=r"minicpm\(loss=...\) was fitted from 2.5 on, got 2"):
        laws.minicpm(2.0)


def test_the_power_scheduler_says_what_its_paper_does():
    """Section 3.2 of arXiv:2408.13359: 0.0011 for 10 trillion tokens and a batch of 1,024, which is beyond the fit."""
    with pytest.warns(UserWarning, match="was fitted"):
        assert float(laws.power_scheduler(1e13, 1024)) == pytest.approx(0.0011, abs=5e-5)
    assert float(laws.power_scheduler(8e9, 64)) == pytest.approx(2 * float(laws.power_scheduler(8e9, 32)))


def test_rules_against_their_logarithms():
    """The same formulas as straight lines of logarithms, written anew."""
    n, d, c = 4.3e8, 1.7e10, 3e18
    step = laws.step_law(n, d)
    assert math.log(step.learning_rate) == pytest.approx(math.log(1.79) - 0.713 * math.log(n) + 0.307 * math.log(d))
    assert math.log(step.batch_tokens) == pytest.approx(math.log(0.58) + 0.571 * math.log(d))
    assert math.log(float(laws.deepseek(c))) == pytest.approx(math.log(0.3118) - 0.125 * math.log(c))
    moonlight = laws.moonlight(1e20)
    assert math.log(moonlight.learning_rate) == pytest.approx(math.log(0.0127339) - 0.0574752 * math.log(1e20))
    assert math.log(moonlight.batch_tokens) == pytest.approx(math.log(0.0065202) + 0.4137915 * math.log(1e20))
    assert math.log(laws.minicpm(3.0).batch_tokens) == pytest.approx(math.log(1.21e9) - 6.24 * math.log(3.0))
    assert math.log(float(laws.power_scheduler(d, 100))) == pytest.approx(math.log(460) - 0.51 * math.log(d))
    small = 9e7
    porian = laws.porian(small)
    assert math.log(porian.learning_rate) == pytest.approx(math.log(3.7) - 0.36 * math.log(small))
    # printed in sequences of 2,048 tokens
    assert porian.batch_tokens == pytest.approx(0.00037 * small**0.703 * 2048, rel=1e-3)
    assert float(laws.kaplan(1.0e9)) == pytest.approx(0.003239 - 0.0001395 * 20.7232658)
    there = float(laws.horizon(2e-3, 3e10, 2.4e11))
    assert float(laws.horizon(there, 2.4e11, 3e10)) == pytest.approx(2e-3) and there == pytest.approx(2e-3 * 8**-0.32)


def test_a_warning_outside_the_range_and_an_error_where_there_is_no_rate():
    with pytest.warns(UserWarning, match=r"step_law\(params=...\) was fitted from 6e\+07 to 1e\+09, got 7e\+10"):
        laws.step_law(7e10, 1e10)
    with pytest.warns(UserWarning, match=r"horizon\(new_tokens=...\) was fitted") as caught:
        laws.horizon(1e-3, 1e11, 1e13)
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match=r"kaplan\(params=...\) must be less than 1.2e10"):
        laws.kaplan(2e10)
    for bad in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"deepseek\(compute=...\) must be"):
            laws.deepseek(bad)


def test_the_module_is_public_and_every_rule_names_its_source():
    rules = [
        laws.step_law(1e8, 1e10),
        laws.deepseek(1e18),
        laws.moonlight(1e20),
        laws.minicpm(3.0),
        laws.power_scheduler(1e10, 64),
        laws.kaplan(1e8),
        laws.porian(1e8),
        laws.horizon(1, 1e11, 2e11),
    ]
    assert lrx.laws is laws and all(rule.source.startswith("arXiv:") and rule.assumption for rule in rules)


def test_arrays_give_plain_numbers():
    guess = lrx.laws.step_law(np.float32(1e9), np.int64(10**11))
    assert type(guess.learning_rate) is type(guess.batch_tokens) is float
