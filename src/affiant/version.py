"""The version, apart from the package itself, whose other names import a role."""

__version__ = "0.1.0"
