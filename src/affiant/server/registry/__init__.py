"""What is registered: clients with their keys, APIs, and the rules for both."""
