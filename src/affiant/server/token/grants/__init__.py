"""The grants, one file each. A grant decides what a client may request; it never mints, stores, audits or answers."""
