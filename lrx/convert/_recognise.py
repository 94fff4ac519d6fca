"""Which library a config is of."""

from collections.abc import Mapping
from typing import Any

from .keras import SCHEDULES as KERAS
from .keras import from_keras, schedule_in
from .timm import from_timm
from .torch import from_torch, name_of
from .transformers import SCHEDULES as TRANSFORMERS
from .transformers import from_transformers


def recognised(config: Any) -> Any:
    """The schedule of a config of torch, Keras, transformers or timm; None if it is of none of them."""
    if not isinstance(config, Mapping):
        return None
    if "sched" in config:
        return from_timm(config)
    if "lr_scheduler_type" in config:
        return from_transformers(config)
    if config.get("class_name") in KERAS or ("class_name" in config and schedule_in(config) is not None):
        return from_keras(config)
    if name_of(config) is not None or isinstance(config.get("scheduler"), Mapping):
        return from_torch(config)
    if config.get("name") in TRANSFORMERS:
        return from_transformers(**config)
    return None
