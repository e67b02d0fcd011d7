"""What should be registered, written down in a file: read, compared with what is, and made so."""
