"""Numbered .sql files, a folder for each engine."""
