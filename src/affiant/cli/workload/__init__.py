"""Commands that run next to a service: for programs that read a token from a file, or send requests without one."""
