"""What leaves of recorded decisions."""
