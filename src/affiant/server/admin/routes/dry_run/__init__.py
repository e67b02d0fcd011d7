"""A dry run: planned changes are judged in their order, and nothing is changed."""
