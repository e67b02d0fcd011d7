"""`affiant key show`, `convert` and `thumbprint`: what a file with keys has in it, and the same key in another form.

material.py reads, forms.py writes, passwords.py asks, and commands.py has the commands.
"""
