"""What `benchmarks/formats.py` is made of."""
