"""Zip and tar archives: their entries, each checked to be where and what the directory says."""
