"""Records as pages show them: their members, their changes, lists as files, and the tokens of the last hour."""
