"""What clients prove themselves with: how keys and secrets follow each other, and how that is committed and told."""
