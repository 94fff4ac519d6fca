"""Logs of training runs: read from the files that loggers write, and written for them."""

from ._log import Log as Log
from ._read import read_log as read_log
