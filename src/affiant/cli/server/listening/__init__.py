"""Connections of `affiant serve`: uvicorn's, with a cap on their number and a deadline for each."""
