"""The grants, one file each. A grant decides what may be had; it never mints, stores, audits or writes HTTP."""
