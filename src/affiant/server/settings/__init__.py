"""The settings of the server: declared once; from the command line, the environment or a TOML file, in that order.

`fields` declares and checks them, `sources` reads the file and knows where a value came from, `loading` puts both
together and turns every mistake into one line.
"""

from affiant.server.settings.fields import DEFAULT_HOST, DEFAULT_PORT, Settings
from affiant.server.settings.loading import Setting, described, load
from affiant.server.settings.options import Options
from affiant.server.settings.sources import warnings as warnings_of_names

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "Options", "Setting", "Settings", "described", "load", "warnings_of_names"]
