"""Add a trust and a rule for a platform: from answers, a pasted token or a refused one, to what is registered. Pure."""
