"""`python -m bench` is the comparison of `bench.run`."""

from bench.run import main

main()
