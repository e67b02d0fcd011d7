"""The guard in web frameworks: each module turns one framework's requests into checks, and refusals into its answers.

No module has a rule of its own. `Guard` has a method for each, which loads the module when it is called.
"""
