"""What is kept: records, the ports that promise things of them, and the adapters that keep the promises."""
