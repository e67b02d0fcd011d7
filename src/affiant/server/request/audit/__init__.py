"""Recorded decisions leave the server as log lines, by sinks and in archives. No request waits for any of them."""
