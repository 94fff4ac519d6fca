"""Charts of schedules and losses, from plain arrays: a matplotlib `Figure` each, without pyplot's global state."""

from ._losses import plot_final_losses as plot_final_losses
from ._losses import plot_losses as plot_losses
from ._losses import plot_range_test as plot_range_test
from ._losses import plot_short_runs as plot_short_runs
from ._losses import running_mean as running_mean
from ._page import HEAD as HEAD
from ._page import picture as picture
from ._predictions import plot_predictions as plot_predictions
from ._runs import plot_learning_rates as plot_learning_rates
from ._runs import plot_run as plot_run
from ._schedules import counts_up_to as counts_up_to
from ._schedules import horizon as horizon
from ._schedules import plot as plot
from ._style import COLOURS as COLOURS
from ._style import FAINT as FAINT
from ._style import INK as INK
from ._style import png as png
from ._style import rate as rate
from ._text import drawing as drawing
from ._text import loss_drawing as loss_drawing
