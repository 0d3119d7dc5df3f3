"""Bytes: mapped from a file, written atomically, downloaded and verified. Knows nothing of what they mean."""
