"""The group Tokens: commands of a service, with its credentials file."""
