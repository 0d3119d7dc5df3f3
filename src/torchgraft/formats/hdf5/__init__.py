"""HDF5, read without the HDF5 library: groups, attributes and lazy tensors of a file that may be hostile.

Written out here because the C library can't be trusted with such files (of 2,000 mutated ones, one crashed
the process and five never ended) and can open other files by itself: external links, external storage,
virtual datasets, filter plugins. Here each of those is refused by name. The format is documented at
support.hdfgroup.org, "HDF5 File Format Specification".

What is read: superblocks 0–3, old and new groups and object headers, contiguous, compact and chunked
datasets with deflate, shuffle and fletcher32. Metadata checksums are computed with `verify` only, as Python
is slow at it; every number is checked against the file in any case.
"""

from torchgraft.formats.hdf5.datasets import Dataset
from torchgraft.formats.hdf5.reading import Group, is_hdf5, read_hdf5

__all__ = ["Dataset", "Group", "is_hdf5", "read_hdf5"]
