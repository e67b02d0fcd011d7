"""`python -m bench`: every benchmark of speed, one after the other."""

from bench import introspection_rate, token_rate

token_rate.main()
print()
introspection_rate.main()
