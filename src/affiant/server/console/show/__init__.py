"""Parts of pages: instants, commands, plots."""
