"""Registered clients and APIs, and the rules for both."""
