"""What anybody may read: metadata, keys, the pages of the reasons, and whether the server lives."""
