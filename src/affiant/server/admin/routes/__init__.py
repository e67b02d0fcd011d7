"""The routes of the admin API, by their nouns; each is declared with the role that it needs."""

from affiant.server.admin.routes import apis, audit, clients, search, server, teams, tokens
from affiant.server.admin.routes.dry_run import judgement
from affiant.server.admin.routes.federation import planned, refused, rules, trusts
from affiant.server.admin.routes.operation import Operation
from affiant.server.admin.routes.usage import attention, counts
from affiant.server.admin.routes.users import access, users

_NOUNS = (
    teams.TEAMS, clients.CLIENTS, clients.CREDENTIALS, apis.APIS, apis.GRANTS, trusts.TRUSTS, rules.RULES,
    tokens.INITIAL, tokens.TOKENS, refused.TOKENS, audit.AUDIT, audit.EXPLAIN, planned.PLANNED, search.SEARCH,
    server.SETTINGS, server.METRICS, server.SIGNING_KEYS, judgement.DRY_RUN, counts.COUNTS, attention.ATTENTION,
    users.USERS, access.PASSKEYS, access.SESSIONS,
)  # fmt: skip
ALL: tuple[Operation, ...] = tuple(route for noun in _NOUNS for route in noun.all)
