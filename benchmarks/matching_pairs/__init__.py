"""The pairs of the matching benchmark, how they are judged, and what they are compared with."""
