"""Going on with a run that was interrupted: what is written for that, and whether it still fits."""
