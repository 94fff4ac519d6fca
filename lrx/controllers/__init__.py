"""Learning rates that listen to training: the loss, the gradients and the parameters."""
