"""lrx in the training loops of JAX's frameworks, on real data."""
