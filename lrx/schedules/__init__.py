"""Schedules: learning rates as pure functions of the number of updates completed, one family a file."""
