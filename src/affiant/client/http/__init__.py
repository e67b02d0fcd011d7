"""The `auth=` of HTTP clients: it adds a token to each request, and renews it once if the API refuses it."""
