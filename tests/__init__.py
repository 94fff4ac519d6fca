"""The tests of lrx."""
