"""The version, without the imports of the package itself."""

__version__ = "0.2.0"
