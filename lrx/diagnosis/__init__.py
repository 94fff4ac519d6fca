"""Diagnosis: whether a record of losses shows a learning rate that is too low, fine or too high."""

from ._monitor import monitor as monitor
from ._monitor import monitored as monitored
from ._probe import Probe as Probe
from ._probe import probe as probe
from ._sharpness import Sharpness as Sharpness
from ._sharpness import sharpness as sharpness
from ._verdict import Diagnosis as Diagnosis
from ._verdict import diagnose as diagnose
