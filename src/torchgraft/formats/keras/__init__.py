"""Keras's files, old and new, and HDF5 files in general as named arrays."""
