"""Tests of the core: numbers, equality, states, and the contracts that every optimizer and schedule keeps."""
