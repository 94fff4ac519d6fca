"""Learning rates that adapt to training feedback: the loss, the gradients and the parameters."""
