"""What a new client needs: its credentials file, written however the run ends, or what its owner must know."""
