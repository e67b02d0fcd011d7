"""The members of a client and of an API: one row each, by its name on the wire.

From these rows come the metadata of /register, the documents of the admin API, the options of the command line, the
file of `affiant apply` and the reference. A new member of a client is a row here, an attribute with a default in
storage.records.Client, and the code that uses it. A rule about several members is a function in registry/clients.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import Any, Generic, TypeVar

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.oauth import assertion, names
from affiant.oauth.binding import subject
from affiant.server.registry import kinds
from affiant.server.registry.kinds import Choice, Kind, Text
from affiant.server.registry.profiles import PROFILES
from affiant.storage.records import Api, Client, Rule, Team, Trust, User

Record = TypeVar("Record", Client, Api, Trust, Rule, Team, User)
RFC_7591 = "RFC 7591 2"
_BINDING = ("optional", "required")


class By(Flag):
    """The parties that may set a member."""

    CLIENT = auto()  # the client, at /register
    NEW = auto()  # an operator, when registering the client or API
    CHANGE = auto()  # an operator, later
    OPERATOR = NEW | CHANGE
    ALL = CLIENT | OPERATOR


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a registration.

    `option` and `metavar` are for the command line. `at_register` is the kind of the value at /register where RFC 7591
    writes it in another way.
    """

    name: str
    kind: Kind
    meaning: str
    by: By = By.OPERATOR
    source: str = "affiant"
    option: str | None = None
    metavar: str | None = None
    at_register: kinds.ScopeText | None = None
    words: tuple[str, str] = ("false", "true")  # of a flag, on the command line

    def parse(self, value: object) -> Any:
        """Return the typed value; raise ConfigError with the name of the member."""
        return kinds.read(self.name, self.kind, value)

    def assign(self, typed: Any) -> dict[str, Any]:
        """Return the typed value by the attribute of the record."""
        return {self.name: typed}

    def shown(self, value: Any) -> Any:
        """Return the JSON value that a record has after this one was given; None for no value."""
        return None if self.kind.none is not None and value == self.kind.none else value

    def get(self, record: Any) -> Any:
        """Return the JSON value that a record has; None for no value."""
        value = getattr(record, self.name)
        return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class SubjectName(Member):
    """One of the five names of a certificate (RFC 8705 section 2.1.2); a client has at most one."""

    def assign(self, typed: Any) -> dict[str, Any]:
        return {"tls_subject": (self.name, typed)}

    def get(self, record: Any) -> Any:
        found = record.tls_subject if isinstance(record, Client) else None
        return found[1] if found is not None and found[0] == self.name else None


class Table(Generic[Record]):
    """The rows of one kind of record."""

    def __init__(self, *rows: Member) -> None:
        self.rows: dict[str, Member] = {row.name: row for row in rows}

    def __iter__(self) -> Iterator[Member]:
        return iter(self.rows.values())

    def by(self, party: By) -> list[Member]:
        """Return the rows that this party may set."""
        return [row for row in self if row.by & party]

    def read(
        self, members: Mapping[str, object], *, parse: Callable[[Member, object], Any] = Member.parse
    ) -> dict[str, Any]:
        """Return the typed values by the attributes of the record.

        Raises ConfigError for a value that its member cannot have, and for two members of which a record has one.
        """
        values, by = dict[str, Any](), dict[str, str]()
        for name, value in members.items():
            row = self.rows[name]
            for attribute, typed in row.assign(parse(row, value)).items():
                if attribute in values:
                    raise ConfigError(f"give one of {by[attribute]} and {name}")
                values[attribute], by[attribute] = typed, name
        return values

    def put(self, record: Record, members: Mapping[str, object]) -> Record:
        """Return the record with these members."""
        return replace(record, **self.read(members))

    def render(self, record: Record) -> dict[str, Any]:
        """Return the members of a record, as JSON values."""
        return {row.name: row.get(record) for row in self}

    def check(self, record: Record) -> Record:
        """Return the record with each value as its row reads it; raise ConfigError for one that it refuses."""
        return self.put(record, {name: value for name, value in self.render(record).items() if value is not None})


def _subject(name: str, metavar: str, meaning: str) -> Member:
    def check(value: str) -> None:
        try:
            subject.check_subject(name, value)
        except ConfigError as error:
            raise ValueError(f"a name of the certificate ({str(error).partition(': ')[2]})") from None

    option = f"--tls-{name.removeprefix('tls_client_auth_').replace('_', '-')}"
    return SubjectName(
        name,
        Text(check, longest=512),
        f"for tls_client_auth: {meaning}",
        by=By.ALL,
        source="RFC 8705 2.1.2",
        option=option,
        metavar=metavar,
    )


def _policy(rule: str, words: tuple[str, ...]) -> Member:
    meaning = f"policy for the {rule} of its assertions"
    return Member(f"{rule}_policy", Choice(words), meaning, option=f"--{rule}")


# Of clients, APIs and trusts.
OWNED = (
    Member("team", kinds.TEAM, "team that owns it; empty for none", option="--team", metavar="NAME"),
    Member("contact", kinds.CONTACT, "whom to ask about it; empty for none", option="--contact", metavar="TEXT"),
    Member("labels", kinds.LABELS, "labels such as batch or env=prod", option="--label", metavar="LABEL"),
)
CLIENT = Table[Client](
    Member(
        "client_name", kinds.VISIBLE, "name for people", by=By.ALL, source=RFC_7591, option="--name", metavar="TEXT"
    ),
    Member(
        "token_endpoint_auth_method",
        Choice(names.AUTH_METHODS),
        "how it authenticates; later only client_secret_post for client_secret_basic, or the reverse",
        by=By.ALL,
        source=RFC_7591,
        option="--auth",
    ),
    Member(
        "token_endpoint_auth_signing_alg",
        Choice((*ASYMMETRIC, *SYMMETRIC)),
        "the only algorithm of its assertions; any that its keys fit when left out",
        by=By.CLIENT | By.NEW,
        source="OpenID Connect Registration 2",
        option="--alg",
        metavar="ALG",
    ),
    Member(
        "jwks_uri",
        kinds.JWKS_URI,
        "https URL of its public keys, instead of the keys themselves",
        by=By.ALL,
        source=RFC_7591,
        option="--jwks-uri",
        metavar="URL",
    ),
    Member(
        "grant_types",
        kinds.GRANTS,
        "grants that it may use; client_credentials when left out",
        by=By.ALL,
        source=RFC_7591,
        option="--grant",
        metavar="G",
    ),
    Member(
        "scope",
        kinds.SCOPE,
        "scopes that it may request",
        at_register=kinds.ScopeText(),
        by=By.ALL,
        source=RFC_7591,
        option="--scope",
        metavar="S",
    ),
    Member(
        "resources",
        kinds.APIS,
        "APIs that it may request tokens for; only the default API when empty",
        option="--resource",
        metavar="URL",
    ),
    Member(
        "introspects",
        kinds.APIS,
        "APIs that it speaks for: it may introspect their tokens",
        option="--introspect",
        metavar="URL",
    ),
    Member(
        "authorization_details_types",
        kinds.TYPES,
        "types of authorization_details that it may request",
        by=By.ALL,
        source="RFC 9396 10",
        option="--details-type",
        metavar="T",
    ),
    Member(
        "dpop_bound_access_tokens",
        kinds.FLAG,
        "whether its tokens must be bound to a key",
        by=By.ALL,
        source="RFC 9449 5.2",
        option="--dpop",
        words=_BINDING,
    ),
    Member(
        "tls_client_certificate_bound_access_tokens",
        kinds.FLAG,
        "whether its tokens must be bound to its certificate",
        by=By.ALL,
        source="RFC 8705 3.4",
        option="--certificate-bound",
        words=_BINDING,
    ),
    _subject(subject.DN, "DN", "the subject of its certificate, such as CN=billing,O=Example"),
    _subject(subject.SAN_DNS, "NAME", "a host name in its certificate"),
    _subject(subject.SAN_URI, "URI", "a URI in its certificate, such as a SPIFFE ID"),
    _subject(subject.SAN_IP, "IP", "an address in its certificate"),
    _subject(subject.SAN_EMAIL, "EMAIL", "an e-mail address in its certificate"),
    Member(
        "profile",
        Choice((*PROFILES, kinds.NONE), none=kinds.NONE),
        "additional rules: guide allows the requests of a common guide, fapi demands FAPI 2.0",
        option="--profile",
    ),
    *(_policy(rule, words) for rule, words in assertion.POLICIES.items()),
    Member("observe", kinds.RULES, "rules whose breach is recorded and accepted", option="--observe"),
    Member(
        "access_token_lifetime",
        kinds.LIFETIME,
        "lifetime of its access tokens in seconds; 0 for the setting of the server",
        option="--access-token-lifetime",
        metavar="SECONDS",
    ),
    Member(
        "token_budget",
        kinds.BUDGET,
        "access tokens that it may get in an hour (UTC); 0 for any number",
        option="--token-budget",
        metavar="NUMBER",
    ),
    Member(
        "budget",
        Choice(("observe", "enforce")),
        "whether a token more than its budget is only recorded, or refused",
        option="--budget",
    ),
    Member("kind", Choice(names.CLIENT_KINDS), "service, or agent: a program that acts on its own", option="--kind"),
    Member("owner", kinds.VISIBLE, "person or team that answers for it", option="--owner", metavar="NAME"),
    Member(
        "blueprint",
        kinds.CLIENT_ID,
        "client whose credentials it authenticates with; when that ends, so do its tokens",
        by=By.NEW,
        option="--blueprint",
        metavar="CLIENT_ID",
    ),
    Member(
        "delegates_to",
        kinds.CLIENTS,
        "clients that may exchange its tokens; none when empty, any audience of them when left out",
        source="RFC 8693 4.4",
        option="--delegates-to",
        metavar="CLIENT_ID",
    ),
    *OWNED,
    Member(
        "administers",
        kinds.TEAMS,
        "teams to which its role in the admin API is limited; not limited when empty",
        option="--administers",
        metavar="TEAM",
    ),
    Member("enabled", kinds.FLAG, "whether it gets tokens; when false, its tokens end at once", by=By.CHANGE),
)
# Members that describe a client: stored as sent, and returned.
SOFTWARE = Table[Client](
    Member("client_uri", kinds.WEB_PAGE, "http or https URL of a page about it", by=By.CLIENT, source=RFC_7591),
    Member(
        "contacts", kinds.Names(kinds.VISIBLE, most=16), "people or addresses to ask", by=By.CLIENT, source=RFC_7591
    ),
    Member("software_id", kinds.VISIBLE, "identifier of its software", by=By.CLIENT, source=RFC_7591),
    Member("software_version", kinds.VISIBLE, "version of its software", by=By.CLIENT, source=RFC_7591),
    Member(
        "software_statement",
        kinds.STATEMENT,
        "a JWT of an issuer that the operator trusts; its members replace those next to it",
        by=By.CLIENT,
        source="RFC 7591 2.3",
    ),
)
API = Table[Api](
    Member("name", kinds.LABEL, "name for people; its identifier when left out"),
    Member("scopes", kinds.SCOPE, "every scope that it has", option="--scope", metavar="S"),
    Member(
        "is_default",
        kinds.Flag(only_true=True),
        "tokens are for it unless they name another API; the default before it is none from then on",
    ),
    Member(
        "signing_alg",
        kinds.SIGNING_ALG,
        "algorithm of its tokens; default for the server's choice",
        option="--signing-alg",
        metavar="ALG",
    ),
    Member(
        "authorization_details_types",
        kinds.TYPES,
        "types of authorization_details that it understands",
        source="RFC 9396",
        option="--details-type",
        metavar="T",
    ),
    Member(
        "access_token_lifetime",
        kinds.LIFETIME,
        "longest lifetime of a token for it in seconds; 0 for the setting of the server",
        option="--access-token-lifetime",
        metavar="SECONDS",
    ),
    Member(
        "access_token_typ",
        Choice(names.ACCESS_TOKEN_TYPES),
        "typ of its tokens; JWT for a verifier that knows no at+jwt: the guard of affiant refuses it",
        option="--token-typ",
    ),
    *OWNED,
)
TEAM = Table[Team](
    Member("contact", kinds.CONTACT, "whom to ask about it; empty for none", option="--contact", metavar="TEXT"),
    Member(
        "resources",
        kinds.APIS,
        "APIs of other teams for which its clients may get tokens",
        option="--resource",
        metavar="URL",
    ),
    Member("scope", kinds.SCOPE, "scopes of these APIs that it may grant", option="--scope", metavar="S"),
)
