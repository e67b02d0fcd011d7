"""What goes over the wire, and the rules for it. Pure: no I/O, no clock, no role."""
