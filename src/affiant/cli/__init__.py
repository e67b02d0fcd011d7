"""The command line: a folder for each group of `affiant --help`, and a module for each command.

`main` finds a command by its name and turns failures into exit codes. `connection` reaches the data or the server of a
command, and `output` prints. A command loads only what it needs when it runs.
"""
