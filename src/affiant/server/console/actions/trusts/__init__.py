"""What may be done to trusts and their rules."""
