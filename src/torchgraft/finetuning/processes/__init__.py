"""Several processes at once: each does its share of every batch, and the results are put together."""
