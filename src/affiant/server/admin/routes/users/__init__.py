"""The users of the console: their records, sign-in links, passkeys and sessions."""
