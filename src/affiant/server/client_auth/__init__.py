"""Client authentication: one ladder, and a module for each method that it can end in."""
