"""`python -m micwire` is `micwire`."""

from micwire.cli import main

main()
