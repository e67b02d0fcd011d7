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
from affiant.storage.records import Api, Client

Record = TypeVar("Record", Client, Api)
RFC_7591 = "RFC 7591 2"


class By(Flag):
    """The parties that may set a member."""

    CLIENT = auto()  # the client, at /register
    NEW = auto()  # an operator, when registering the client or API
    CHANGE = auto()  # an operator, later
    OPERATOR = NEW | CHANGE
    ALL = CLIENT | OPERATOR


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def parse(self, value: object) -> Any:
        """Return the typed value; raise ConfigError with the name of the member."""
        return kinds.read(self.name, self.kind, value)

    def assign(self, typed: Any) -> dict[str, Any]:
        """Return the typed value by the attribute of the record."""
        return {self.name: typed}

    def get(self, record: Client | Api) -> Any:
        """Return the JSON value that a record has; None for no value."""
        value = getattr(record, self.name)
        return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectName(Member):
    """One of the five names of a certificate (RFC 8705 section 2.1.2); a client has at most one."""

    def assign(self, typed: Any) -> dict[str, Any]:
        return {"tls_subject": (self.name, typed)}

    def get(self, record: Client | Api) -> Any:
        found = record.tls_subject if isinstance(record, Client) else None
        return found[1] if found is not None and found[0] == self.name else None


class Table(Generic[Record]):
    """The rows of one kind of record."""

    def __init__(self, *rows: Member) -> None:
        self.rows = {row.name: row for row in rows}

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
        name=name,
        kind=Text(check, longest=512),
        meaning=f"for tls_client_auth: {meaning}",
        by=By.ALL,
        source="RFC 8705 2.1.2",
        option=option,
        metavar=metavar,
    )


def _policy(rule: str, words: tuple[str, ...]) -> Member:
    meaning = f"policy for the {rule} of its assertions"
    return Member(name=f"{rule}_policy", kind=Choice(words), meaning=meaning, option=f"--{rule}")


CLIENT = Table[Client](
    Member(
        name="client_name",
        kind=kinds.VISIBLE,
        meaning="name for people",
        by=By.ALL,
        source=RFC_7591,
        option="--name",
        metavar="TEXT",
    ),
    Member(
        name="token_endpoint_auth_method",
        kind=Choice(names.AUTH_METHODS),
        meaning="how it authenticates; later only client_secret_post for client_secret_basic, or the reverse",
        by=By.ALL,
        source=RFC_7591,
        option="--auth",
    ),
    Member(
        name="token_endpoint_auth_signing_alg",
        kind=Choice((*ASYMMETRIC, *SYMMETRIC)),
        meaning="the only algorithm of its assertions; any that its keys fit when left out",
        by=By.CLIENT | By.NEW,
        source="OpenID Connect Registration 2",
        option="--alg",
        metavar="ALG",
    ),
    Member(
        name="jwks_uri",
        kind=kinds.JWKS_URI,
        meaning="https URL of its public keys, instead of the keys themselves",
        by=By.ALL,
        source=RFC_7591,
        option="--jwks-uri",
        metavar="URL",
    ),
    Member(
        name="grant_types",
        kind=kinds.GRANTS,
        meaning="grants that it may use; client_credentials when left out",
        by=By.ALL,
        source=RFC_7591,
        option="--grant",
        metavar="G",
    ),
    Member(
        name="scope",
        kind=kinds.SCOPE,
        at_register=kinds.ScopeText(),
        meaning="scopes that it may request",
        by=By.ALL,
        source=RFC_7591,
        option="--scope",
        metavar="S",
    ),
    Member(
        name="resources",
        kind=kinds.APIS,
        meaning="APIs that it may request tokens for; only the default API when empty",
        option="--resource",
        metavar="URL",
    ),
    Member(
        name="introspects",
        kind=kinds.APIS,
        meaning="APIs that it speaks for: it may introspect their tokens",
        option="--introspect",
        metavar="URL",
    ),
    Member(
        name="authorization_details_types",
        kind=kinds.TYPES,
        meaning="types of authorization_details that it may request",
        by=By.ALL,
        source="RFC 9396 10",
        option="--details-type",
        metavar="T",
    ),
    Member(
        name="dpop_bound_access_tokens",
        kind=kinds.FLAG,
        meaning="whether its tokens must be bound to a key",
        by=By.ALL,
        source="RFC 9449 5.2",
        option="--dpop",
    ),
    Member(
        name="tls_client_certificate_bound_access_tokens",
        kind=kinds.FLAG,
        meaning="whether its tokens must be bound to its certificate",
        by=By.ALL,
        source="RFC 8705 3.4",
        option="--certificate-bound",
    ),
    _subject(subject.DN, "DN", "the subject of its certificate, such as CN=billing,O=Example"),
    _subject(subject.SAN_DNS, "NAME", "a host name in its certificate"),
    _subject(subject.SAN_URI, "URI", "a URI in its certificate, such as a SPIFFE ID"),
    _subject(subject.SAN_IP, "IP", "an address in its certificate"),
    _subject(subject.SAN_EMAIL, "EMAIL", "an e-mail address in its certificate"),
    Member(
        name="profile",
        kind=Choice((*PROFILES, kinds.NONE), none=kinds.NONE),
        meaning="additional rules: guide allows the requests of a common guide, fapi demands FAPI 2.0",
        option="--profile",
    ),
    *(_policy(rule, words) for rule, words in assertion.POLICIES.items()),
    Member(
        name="observe",
        kind=kinds.RULES,
        meaning="rules whose breach is recorded and accepted",
        option="--observe",
    ),
    Member(
        name="access_token_lifetime",
        kind=kinds.LIFETIME,
        meaning="lifetime of its access tokens in seconds; 0 for the setting of the server",
        option="--access-token-lifetime",
        metavar="SECONDS",
    ),
    Member(
        name="enabled",
        kind=kinds.FLAG,
        meaning="whether it gets tokens; when false, its tokens end at once",
        by=By.CHANGE,
    ),
)
# What a client says of itself: kept as it was sent, and returned.
SOFTWARE = Table[Client](
    Member(
        name="client_uri",
        kind=kinds.WEB_PAGE,
        meaning="http or https URL of a page about it",
        by=By.CLIENT,
        source=RFC_7591,
    ),
    Member(
        name="contacts",
        kind=kinds.Names(kinds.VISIBLE, most=16),
        meaning="people or addresses to ask",
        by=By.CLIENT,
        source=RFC_7591,
    ),
    Member(
        name="software_id",
        kind=kinds.VISIBLE,
        meaning="identifier of its software",
        by=By.CLIENT,
        source=RFC_7591,
    ),
    Member(
        name="software_version",
        kind=kinds.VISIBLE,
        meaning="version of its software",
        by=By.CLIENT,
        source=RFC_7591,
    ),
    Member(
        name="software_statement",
        kind=kinds.STATEMENT,
        meaning="a JWT of an issuer that the operator trusts; its members replace those next to it",
        by=By.CLIENT,
        source="RFC 7591 2.3",
    ),
)
API = Table[Api](
    Member(name="name", kind=kinds.LABEL, meaning="name for people; its identifier when left out"),
    Member(name="scopes", kind=kinds.SCOPE, meaning="every scope that it has", option="--scope", metavar="S"),
    Member(
        name="is_default",
        kind=kinds.Flag(only_true=True),
        meaning="tokens are for it unless they name another API; the default before it is none from then on",
    ),
    Member(
        name="signing_alg",
        kind=kinds.SIGNING_ALG,
        meaning="algorithm of its tokens; default for the server's choice",
        option="--signing-alg",
        metavar="ALG",
    ),
    Member(
        name="authorization_details_types",
        kind=kinds.TYPES,
        meaning="types of authorization_details that it understands",
        source="RFC 9396",
        option="--details-type",
        metavar="T",
    ),
    Member(
        name="access_token_lifetime",
        kind=kinds.LIFETIME,
        meaning="longest lifetime of a token for it in seconds; 0 for the setting of the server",
        option="--access-token-lifetime",
        metavar="SECONDS",
    ),
    Member(
        name="access_token_typ",
        kind=Choice(names.ACCESS_TOKEN_TYPES),
        meaning="typ of its tokens; JWT for a verifier that knows no at+jwt: the guard of affiant refuses it",
        option="--token-typ",
    ),
)
