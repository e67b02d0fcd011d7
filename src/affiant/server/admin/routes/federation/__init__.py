"""Routes for trusts and rules, and for the platforms' tokens that were refused."""
