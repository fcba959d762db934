"""`python -m flightsw.cli`."""

from flightsw.cli import main

main()
