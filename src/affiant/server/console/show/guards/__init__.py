"""How an API verifies its tokens, and whether it does."""
