"""The routes of the admin API, one file a noun; each is declared with the role that it needs."""

from affiant.server.admin.routes import (
    apis,
    audit,
    clients,
    credentials,
    dry_run,
    explain,
    grants,
    initial_access_tokens,
    settings,
    signing_keys,
    tokens,
)
from affiant.server.admin.routes.operation import Operation

_NOUNS = (
    clients, credentials, apis, grants, initial_access_tokens, tokens, audit, explain, settings, signing_keys,
    dry_run,
)  # fmt: skip
ALL: tuple[Operation, ...] = tuple(route for noun in _NOUNS for route in noun.ROUTES.all)
