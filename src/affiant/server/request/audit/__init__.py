"""What leaves the server of its recorded decisions: log lines, sinks and archives. No request waits for any of it."""
