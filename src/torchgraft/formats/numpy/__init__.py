"""NumPy's files: one array (`.npy`) or several in a zip archive (`.npz`)."""
