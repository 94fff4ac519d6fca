"""Slow and obvious versions of the algorithms, to compare lrx with."""
