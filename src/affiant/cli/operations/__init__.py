"""The commands that run a server, and the road that all administration takes."""
