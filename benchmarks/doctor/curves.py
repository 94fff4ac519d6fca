"""Curves that imitate what people post: healthy, slow and sick ones, each kind with random sizes.

A curve is losses and rates, and the steps where its record does not begin with the first one; rates are None where a
kind has a constant one. Each docstring says what is seen.
"""

from . import healthy, sick, slow
from .kinds import ACCEPTED, KINDS, Kind

__all__ = ["ACCEPTED", "KINDS", "Kind", "healthy", "sick", "slow"]
