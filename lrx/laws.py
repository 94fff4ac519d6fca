"""Published rules for a first guess of the learning rate of a language model, from its size, data or compute.

Each is a fit to one group's runs: their architecture, tokenizer, data, schedule and batch size. Outside the range that
was fitted they warn. Use one as the middle of a sweep, not instead of it.
"""

import math
import warnings
from typing import Any, NamedTuple

from . import _check as check


class FirstGuess(NamedTuple):
    """A learning rate from a published rule. `float()` of it is the rate."""

    learning_rate: float
    """The peak of the schedule, for Adam or AdamW."""
    batch_tokens: float | None
    """The batch size in tokens that goes with it; None where the rule gives none."""
    source: str
    """Paper and equation."""
    assumption: str
    """What it was fitted to."""

    def __float__(self) -> float:
        return self.learning_rate


@check.public
def step_law(params: float, tokens: float) -> FirstGuess:
    """Step Law: from the number of parameters and of training tokens.

    With N = params, D = tokens::

      η = 1.79 N^-0.713 D^0.307
      batch_tokens = 0.58 D^0.571

    Args:
      params: parameters N without the vocabulary's; fitted from 60 million to 1 billion.
      tokens: training tokens D; fitted up to 100 billion.

    Returns:
      A `FirstGuess`.

    Raises:
      ValueError: if a number is not positive and finite.

    Examples:
      >>> import lrx
      >>> guess = lrx.laws.step_law(1e9, 100e9)
      >>> f"{guess.learning_rate:.2e}, {guess.batch_tokens:.3g} tokens"
      '1.63e-03, 1.11e+06 tokens'

    References:
      Li et al. 2025, "Predictable Scale: Part I, Step Law", arXiv:2503.04715.
    """
    _positive(params=params, tokens=tokens)
    _in_range(params=(params, 6e7, 1e9), tokens=(tokens, 0, 1e11))
    return _guess(
        1.79 * params**-0.713 * tokens**0.307,
        0.58 * tokens**0.571,
        "arXiv:2503.04715",
        "AdamW, dense and sparse models, several mixtures of data",
    )


@check.public
def deepseek(compute: float) -> FirstGuess:
    """DeepSeek's rule: from the compute of the run.

    With C = compute::

      η = 0.3118 C^-0.1250
      batch_tokens = 0.2920 C^0.3271

    Args:
      compute: C = M · D in floating-point operations, with M those per token (embeddings not counted, attention
        counted: 72 n_layer d² + 12 n_layer d n_context) and D the tokens. Fitted from 1e17 to 2e19, used by the
        authors up to 1e24.

    Returns:
      A `FirstGuess`.

    Raises:
      ValueError: if `compute` is not positive and finite.

    Examples:
      >>> import lrx
      >>> guess = lrx.laws.deepseek(8.456e22)  # DeepSeek LLM 7B: they trained at 4.2e-4 with 9.4 million tokens
      >>> f"{guess.learning_rate:.2e}, {guess.batch_tokens:.2g} tokens"
      '4.25e-04, 9.2e+06 tokens'

    References:
      DeepSeek-AI 2024, arXiv:2401.02954, equation 1.
    """
    _positive(compute=compute)
    _in_range(compute=(compute, 1e17, 1e24))
    return _guess(
        0.3118 * compute**-0.1250,
        0.2920 * compute**0.3271,
        "arXiv:2401.02954, equation 1",
        "AdamW with b2 = 0.95, weight decay 0.1, warmup of 2,000 steps and two drops at 80 % and 90 % of the run",
    )


@check.public
def moonlight(compute: float) -> FirstGuess:
    """Moonlight's rule: from the compute of the run.

    With C = compute::

      η = 0.0127339 C^-0.0574752
      batch_tokens = 0.0065202 C^0.4137915

    The rates are AdamW's. The authors use them for Muon too, with updates scaled to the size of AdamW's, as
    `muon(..., consistent_rms=0.2)` does.

    Args:
      compute: C = 6 N D in floating-point operations, with N parameters without embeddings and D tokens. Fitted from
        1e20 to 1.1e21, used by the authors from 2e19.

    Returns:
      A `FirstGuess`.

    Raises:
      ValueError: if `compute` is not positive and finite.

    Examples:
      >>> import lrx
      >>> guess = lrx.laws.moonlight(6 * 1.5e9 * 38.91e9)  # they trained at 8.305e-4, with 2.1 million tokens
      >>> f"{guess.learning_rate:.2e}, {guess.batch_tokens:.2g} tokens"
      '8.40e-04, 2.1e+06 tokens'

    References:
      Liu et al. 2025, "Muon is Scalable for LLM Training", arXiv:2502.16982, table 9.
    """
    _positive(compute=compute)
    _in_range(compute=(compute, 2e19, 1.1e21))
    return _guess(
        0.0127339 * compute**-0.0574752,
        0.0065202 * compute**0.4137915,
        "arXiv:2502.16982, table 9",
        "AdamW, dense models of the Llama kind, 22 to 26 tokens a parameter, sequences of 8,192 tokens",
    )


@check.public
def minicpm(loss: float) -> FirstGuess:
    """MiniCPM's rule: one rate for all widths under muP, and a batch that grows as the loss falls.

    With L = loss::

      η = 0.01
      batch_tokens = 1.21e9 / L^6.24

    The rate is that of a model of width 256. At other widths it holds for all parameters but those of two dimensions,
    whose rate is divided by width / 256.

    Args:
      loss: the loss L that the run is expected to end with, in nats a token on C4. Fitted to models of 9 to 170
        million parameters. At 2.5 it says 4 million tokens, the batch of MiniCPM; below, no run is known.

    Returns:
      A `FirstGuess`.

    Raises:
      ValueError: if `loss` is not positive and finite.

    Examples:
      >>> import lrx
      >>> guess = lrx.laws.minicpm(2.5)  # MiniCPM was trained at 0.01, with 3.93 million tokens
      >>> f"{guess.learning_rate:.2e}, {guess.batch_tokens:.3g} tokens"
      '1.00e-02, 3.98e+06 tokens'

    References:
      Hu et al. 2024, arXiv:2404.06395, sections 3.2 and 3.3.
    """
    _positive(loss=loss)
    _in_range(loss=(loss, 2.5, math.inf))
    return _guess(
        0.01,
        1.21e9 / loss**6.24,
        "arXiv:2404.06395, sections 3.2 and 3.3",
        "Adam, muP in width and depth from a width of 256, the rate checked from 40 million to 2.1 billion parameters",
    )


@check.public
def power_scheduler(tokens: float, batch_sequences: float) -> FirstGuess:
    """The rule behind the Power scheduler: under muP and WSD, from the number of tokens and the batch size.

    With T = tokens, β = batch_sequences::

      η = 4.6 β T^-0.51

    The rate is that of a model of width 256. At other widths that of the matrices inside is divided by width / 256, as
    `scale_for_width` does. `power_schedule` follows the law along the run.

    Args:
      tokens: training tokens T; fitted from 2 to 256 billion.
      batch_sequences: the batch size β in sequences of 4,096 tokens; fitted from 16 to 512.

    Returns:
      A `FirstGuess` without a batch size, which is given.

    Raises:
      ValueError: if a number is not positive and finite.

    Examples:
      >>> import lrx
      >>> f"{lrx.laws.power_scheduler(128e9, 128).learning_rate:.2e}"
      '1.27e-03'

    References:
      Shen et al. 2024, arXiv:2408.13359, equations 5 and 6.
    """
    _positive(tokens=tokens, batch_sequences=batch_sequences)
    _in_range(tokens=(tokens, 2e9, 2.56e11), batch_sequences=(batch_sequences, 16, 512))
    return _guess(
        4.6 * batch_sequences * tokens**-0.51,
        None,
        "arXiv:2408.13359, equations 5 and 6",
        "muP from a width of 256, warmup of a billion tokens, WSD with a decay over the last 10 %, 12 to 121 million "
        "parameters",
    )


@check.public
def kaplan(params: float) -> FirstGuess:
    """Kaplan et al.'s rule of thumb: from the number of parameters.

    With N = params::

      η = 0.003239 - 0.0001395 ln N

    Args:
      params: parameters N without embeddings; their models have up to 1.5 billion. The formula is negative from
        1.2e10.

    Returns:
      A `FirstGuess` without a batch size.

    Raises:
      ValueError: if `params` is not positive, or so large that the rate is not.

    Examples:
      >>> import lrx
      >>> f"{lrx.laws.kaplan(1e8).learning_rate:.2e}"
      '6.69e-04'

    References:
      Kaplan et al. 2020, arXiv:2001.08361, appendix D.6.
    """
    _positive(params=params)
    rate = 0.003239 - 0.0001395 * math.log(params)
    if rate <= 0:
        raise check.fail("params", "must be less than 1.2e10, where the formula becomes negative", params)
    _in_range(params=(params, 1e3, 1.5e9))
    return _guess(rate, None, "arXiv:2001.08361, appendix D.6", "Adam, 3,000 steps of warmup, cosine decay to zero")


@check.public
def porian(params: float) -> FirstGuess:
    """Porian et al.'s rule for training at about 20 tokens a parameter: from the number of parameters.

    With N = params::

      η = 3.7 N^-0.36
      batch_tokens = 0.7576 N^0.703

    Args:
      params: parameters N with the last layer's and without the embedding's; fitted from 25 to 110
        million, and extrapolated by the authors to their larger models.

    Returns:
      A `FirstGuess`.

    Raises:
      ValueError: if `params` is not positive and finite.

    Examples:
      >>> import lrx
      >>> guess = lrx.laws.porian(1e8)
      >>> f"{guess.learning_rate:.2e}, {guess.batch_tokens:.2g} tokens"
      '4.88e-03, 3.2e+05 tokens'

    References:
      Porian et al. 2024, arXiv:2406.19146.
    """
    _positive(params=params)
    _in_range(params=(params, 2.5e7, 1.1e8))
    return _guess(
        3.7 * params**-0.36,
        0.7576 * params**0.703,
        "arXiv:2406.19146",
        "AdamW with tuned b2, a constant rate after a short warmup, sequences of 2,048 tokens",
    )


@check.public
def horizon(learning_rate: float, tokens: float, new_tokens: float) -> FirstGuess:
    """Bjorck et al.'s rule: the best rate of a longer training falls as the number of tokens to the power -0.32.

    With D = tokens and D' = new_tokens::

      η' = η (D' / D)^-0.32

    `transfer_horizon` is the rule from convex theory, with the power -1/2.

    Args:
      learning_rate: the best rate η of the run with `tokens`.
      tokens: training tokens D of that run; their runs have up to 800 billion, with models of 760 million to 2.7
        billion parameters. Of smaller models the rate falls faster, up to the power -0.70.
      new_tokens: those of the new run D'.

    Returns:
      A `FirstGuess` without a batch size, which stays.

    Raises:
      ValueError: if a number is not positive and finite.

    Examples:
      >>> import lrx
      >>> f"{lrx.laws.horizon(1e-3, 50e9, 400e9).learning_rate:.2e}"
      '5.14e-04'

    References:
      Bjorck et al. 2024, arXiv:2409.19913, section 4 and table 5.
    """
    _positive(learning_rate=learning_rate, tokens=tokens, new_tokens=new_tokens)
    _in_range(tokens=(tokens, 0, 8e11), new_tokens=(new_tokens, 0, 8e11))
    return _guess(
        learning_rate * (new_tokens / tokens) ** -0.32,
        None,
        "arXiv:2409.19913, section 4",
        "warmup and cosine decay, batches of half a million tokens, which stay",
    )


def _guess(rate: Any, batch_tokens: Any, source: str, assumption: str) -> FirstGuess:
    """With plain numbers, also from arrays."""
    return FirstGuess(float(rate), None if batch_tokens is None else float(batch_tokens), source, assumption)


def _positive(**arguments: Any) -> None:
    check.finite(**arguments)
    check.positive(**arguments)


def _in_range(**arguments: tuple[float, float, float]) -> None:
    """Warn where a number lies outside what the rule was fitted to."""
    for name, (value, low, high) in arguments.items():
        if not low <= value <= high:
            fitted = (
                f"up to {high:g}"
                if not low
                else f"from {low:g} on"
                if high == math.inf
                else f"from {low:g} to {high:g}"
            )
            warnings.warn(
                f"{check.where(name)} was fitted {fitted}, got {value:g}: the rule may not hold there.", stacklevel=4
            )
