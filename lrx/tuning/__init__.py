"""Choosing a learning rate: range test, suggestion rules, sweep and tune."""
