"""Shell completion and manual pages, made from the help of the commands."""
