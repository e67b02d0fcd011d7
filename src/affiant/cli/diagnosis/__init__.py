"""The group Diagnose: explain requests, show tokens, run a demonstration."""
