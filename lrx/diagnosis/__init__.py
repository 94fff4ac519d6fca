"""Diagnosis: what a training record says about its learning rate."""

from ._verdict import Diagnosis as Diagnosis
from ._verdict import diagnose as diagnose
