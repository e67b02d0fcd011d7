"""What a shell and `man` need to know of `affiant`, made from the help of its commands."""
