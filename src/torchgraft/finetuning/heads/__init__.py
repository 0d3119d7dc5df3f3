"""A head that is fitted to features: what it is given, and how it is fitted."""
