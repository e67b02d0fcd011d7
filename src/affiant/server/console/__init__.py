"""The console: pages over the admin API, for the people who run the server. It is loaded with its first request."""
