"""Logs of training runs: read from the files that loggers write, and written for them."""

from ._log import Log as Log
