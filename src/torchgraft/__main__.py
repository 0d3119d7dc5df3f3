"""`python -m torchgraft`."""

from torchgraft.cli import main

main()
