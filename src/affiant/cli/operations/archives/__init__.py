"""The files of archived audit records: make, verify and read them."""
