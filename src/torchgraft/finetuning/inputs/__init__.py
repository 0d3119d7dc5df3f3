"""From pictures to a model's inputs: the same for every library, varied for training, kept in memory."""
