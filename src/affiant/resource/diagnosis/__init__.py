"""Metrics and readiness of a guard, and the explanation of a refused token.

counts.py is counted by the checks. diagnosed.py gives the guard the methods, above checks.py.
"""
