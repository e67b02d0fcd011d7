"""What pages show: instants, commands, plots."""
