"""Public documents: metadata, keys, pages of the reasons, health, and the feed of revocations."""
