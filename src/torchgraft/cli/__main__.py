"""`python -m torchgraft.cli`."""

from torchgraft.cli import main

main()
