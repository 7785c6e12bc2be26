"""`python -m afterdose`: the command line."""

from afterdose.cli import main

main()
