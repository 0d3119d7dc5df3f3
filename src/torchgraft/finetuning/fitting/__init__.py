"""The training loop and all that it can be told."""
