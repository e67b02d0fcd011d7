"""What a guard says about itself: metrics, readiness, and why it refuses a token.

counts.py is counted by the checks. diagnosed.py gives the guard the methods, above checks.py.
"""
