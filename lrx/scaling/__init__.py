"""Rates that survive a larger model: multipliers by width and depth, and published laws for a first guess."""

from ._depth import DepthScale as DepthScale
from ._depth import scale_for_depth as scale_for_depth
from ._init import rescale_init as rescale_init
from ._width import output_multiplier as output_multiplier
from ._width import scale_for_width as scale_for_width
