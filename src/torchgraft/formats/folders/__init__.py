"""Checkpoints of several files: shards, folders of a library, `torch.distributed.checkpoint`."""
