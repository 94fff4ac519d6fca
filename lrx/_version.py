"""The version of lrx."""

__version__ = "0.1.0"
