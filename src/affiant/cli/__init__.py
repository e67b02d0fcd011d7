"""The command line: a folder for each group of `affiant --help`, and a module for each command.

`main` finds a command by its name and turns failures into exit codes. `connection` reaches the data or the server of a
command, and `output` prints. A command loads only what it needs when it runs.
"""

# The client and the guard install without it.
NOT_INSTALLED = "The command line is not installed: pip install 'affiant[cli]' (or 'affiant[server]' for the server)"
