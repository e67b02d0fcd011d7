"""`python -m bench`: every benchmark, one after the other."""

from bench.token_rate import main

main()
