"""Recipes from other libraries: schedules of torch, Keras, transformers and timm as schedules of lrx.

No function here imports the other library. A live object is read by its attributes, a config by its keys. What comes
out equals the original at every step, long after its end too, to 1e-6 of the rate (to 3e-6 beside the troughs of a
cosine, where the rate is under 0.3 % of its peak). It goes to JSON, unless it holds a function of the user.
"""

from ._recognise import recognised as recognised
from .keras import from_keras as from_keras
from .timm import from_timm as from_timm
from .torch import from_torch as from_torch
from .transformers import from_transformers as from_transformers
