"""Declares the settings, and checks each value when it is loaded: nothing is parsed for the first time later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import names
from affiant.oauth.binding.forwarded import Header, Proxies
from affiant.oauth.federation import delegation
from affiant.oauth.metadata import check_own_issuer
from affiant.server.keys.calendar import DAY, Calendar
from affiant.server.registration import software_statement
from affiant.server.registry import profiles
from affiant.server.registry.addresses import parse_allowed
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.archiving.keeping import Keep, parse_keep
from affiant.server.request.audit.sinks import syslog, webhook
from affiant.server.request.certificate import Certificates
from affiant.server.settings.metrics import is_private, parse_address
from affiant.server.settings.options import Options

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8377
EVERY_ADDRESS = "*"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_MOST = 1_000_000_000  # of what is counted: a larger number is a mistake
_LEAST_RATE = 0.0001  # a second: less, and the next one would be due after a day
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9.]+")
_IPV4 = 4


def _accepted_by(parse: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that keeps the value as it is, if this function accepts it."""

    def check(value: Any) -> Any:
        try:
            _ = parse(value) if value is not None else None
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(check)


def _parse_trusted(text: str) -> None:
    # X-Forwarded-For may be trusted from every address, with a warning; a header that proves a client never.
    if text.strip() != EVERY_ADDRESS:
        Proxies.parse(text)


Url = Annotated[str | None, _accepted_by(check_own_issuer)]


class Settings(BaseModel):
    """The settings of an operator. Variables have the names of the fields, as in AFFIANT_ACCESS_TOKEN_LIFETIME."""

    # Defaults too: some depend on another setting, as signing_key_announce_days does.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    data: Path = Field(default=Path("affiant-data"), description="folder of the database and the master key")
    database: str | None = Field(
        default=None, repr=False, description="postgresql://USER@HOST/NAME instead of SQLite in the data folder"
    )
    master_key_file: Path | None = Field(
        default=None, description="file with the master key, instead of master.key in the data folder"
    )
    issuer: Url = Field(default=None, description="issuer identifier; default: what the data folder remembers")
    host: str = Field(default=DEFAULT_HOST, description="address to listen on")
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(default=1, ge=1, le=64, description="processes")
    max_connections: int = Field(
        default=4096,
        ge=16,
        le=1_000_000,
        description="open connections of one worker; idle ones are closed for new ones",
    )
    max_connections_per_address: int = Field(
        default=1024, ge=0, le=1_000_000, description="the same of one address that is no proxy; 0: no limit"
    )
    trusted_proxies: Annotated[str, _accepted_by(_parse_trusted)] = Field(
        default="",
        description="addresses and networks whose X-Forwarded-For and -Proto are believed, with commas",
    )
    jwks_uri_allow: Annotated[str, _accepted_by(parse_allowed)] = Field(
        default="", description="hosts and networks of clients' key sets that need not be public, with commas"
    )
    tls_cert: Path | None = Field(default=None, description="certificate of this server, PEM: listen with TLS")
    tls_key: Path | None = Field(default=None, description="its private key, PEM")
    tls_client_ca: Path | None = Field(
        default=None, description="authorities of client certificates, PEM: ask for them (RFC 8705)"
    )
    client_certificate_proxies: Annotated[str, _accepted_by(Proxies.parse)] = Field(
        default="",
        description="addresses and networks whose certificate header is believed, with commas; none by default",
    )
    client_certificate_trust: Literal["ca", "any"] = Field(
        default="ca", description="any: those proxies let certificates of no authority in, so their names mean nothing"
    )
    client_certificate_header: Annotated[str, _accepted_by(Header.parse)] = Field(
        default="rfc9440",
        description="what those proxies write: rfc9440 (Client-Cert), nginx (ssl-client-cert) or nginx:HEADER-NAME,"
        " xfcc (Envoy), alb (AWS, verify mode), alb-passthrough (AWS; needs client_certificate_trust any)",
    )
    mtls_url: Url = Field(
        default=None, description="where the endpoints are that ask for certificates, when not at the issuer (RFC 8705)"
    )
    fapi: Literal["off", "on"] = Field(
        default="off", description="on: every client is held to FAPI 2.0 (see docs/how-to/fapi.md)"
    )
    auth_methods: str = Field(
        default="", description="how clients may authenticate, with commas; default: every method there is"
    )
    software_statement_issuers: Annotated[dict[str, Path], _accepted_by(software_statement.load)] = Field(
        default_factory=dict, description="issuers of software statements, each with the file of its keys, a JWK Set"
    )
    authorization_endpoint: Literal["off", "on"] = Field(
        default="off",
        description="on: publish one that refuses every request, for libraries that need one (MSAL, the SDKs of MCP)",
    )
    console: Literal["off", "on"] = Field(
        default="on", description="off: do not serve the console, the pages below /console"
    )
    signing_alg: str = Field(
        default="ES256", description="algorithm of the first key that signs access tokens; made when there is none"
    )
    signing_key_days: int = Field(
        default=90, ge=2, le=3650, description="days that a key signs before the next one does"
    )
    signing_key_announce_days: int = Field(
        default=7, ge=1, le=365, description="days that the next key is published before it signs"
    )
    pkcs11_module: Path | None = Field(
        default=None, description="PKCS #11 library of the token that signing keys are made in, such as libsofthsm2.so"
    )
    pkcs11_token: str | None = Field(default=None, min_length=1, max_length=32, description="label of that token")
    pkcs11_pin_file: Path | None = Field(
        default=None, description="file with the PIN of that token, where AFFIANT_PKCS11_PIN does not hold it"
    )
    dpop_nonces: Literal["off", "on"] = Field(
        default="off", description="on: DPoP proofs must have a nonce of this server (one more trip for a client)"
    )
    transaction_tokens: Literal["off", "on"] = Field(
        default="off", description="on: clients get transaction tokens for trust domains, by token exchange"
    )
    failure_burst: int = Field(
        default=100,
        ge=0,
        le=_MOST,
        description="failed requests at once, of an address or in a client's name; 0: no limit",
    )
    failure_rate: float = Field(
        default=1.0, ge=_LEAST_RATE, le=_MOST, allow_inf_nan=False, description="failed requests a second after that"
    )
    token_burst: int = Field(
        default=10_000, ge=0, le=_MOST, description="requests of one client at once, at each endpoint; 0: no limit"
    )
    token_rate: float = Field(
        default=50.0,
        ge=_LEAST_RATE,
        le=_MOST,
        allow_inf_nan=False,
        description="requests of one client a second after that",
    )
    metrics: Annotated[str, _accepted_by(lambda text: parse_address(text) if text else None)] = Field(
        default="", description="HOST:PORT where Prometheus scrapes /metrics without a token; default: nowhere"
    )
    access_token_lifetime: int = Field(default=600, ge=10, le=3600, description="seconds that an access token lives")
    exchange_depth: int = Field(
        default=delegation.DEPTH, ge=1, le=16, description="actors that an exchanged token may have (RFC 8693 4.1)"
    )

    log: Literal["auto", "human", "json"] = Field(
        default="auto", description="form of the log, on standard error; auto: human on a terminal, JSON elsewhere"
    )
    log_level: Literal["warning", "info"] = Field(
        default="info", description="info: a line for each decision; warning: for refusals and faults"
    )
    traces: Literal["off", "on", "linked"] = Field(
        default="off",
        description="OpenTelemetry: on continues the traces of callers; linked begins its own, with a link to theirs",
    )
    audit_keep: Annotated[str, _accepted_by(parse_keep)] = Field(
        default="", description="how long audit records stay in the database, such as 90d; default: for ever"
    )
    audit_archive: Path | None = Field(
        default=None, description="folder of older audit records; default: audit-archive in the data folder"
    )

    audit_file: Path | None = Field(
        default=None, description="file that gets every audit record, one a line (see docs/how-to/audit-sinks.md)"
    )
    audit_syslog: Annotated[str | None, _accepted_by(syslog.parse_receiver)] = Field(
        default=None, description="syslog that gets every audit record: unix:/PATH, udp://, tcp:// or tls://HOST:PORT"
    )
    audit_webhook: Annotated[str | None, _accepted_by(webhook.parse_url)] = Field(
        default=None, repr=False, description="https URL that gets every audit record, in signed POST requests"
    )
    audit_webhook_secret_file: Path | None = Field(
        default=None,
        description="file with the secret of that webhook, where AFFIANT_AUDIT_WEBHOOK_SECRET does not hold it",
    )
    audit_sinks_begin: Literal["now", "start"] = Field(
        default="now", description="where a new sink begins: at its first start, or (start) with the whole log"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _check_kind(cls, value: object) -> object:
        # Without this, `port = true` in a file would be port 1, and a path with a NUL would fail where it is opened.
        if isinstance(value, bool):
            raise PydanticCustomError("kind", "neither true nor false")
        if isinstance(value, str) and _CONTROLS.search(value):
            raise ValueError("it must not contain control characters, such as a line end")
        return value

    @field_validator(
        *(
            "data",
            "master_key_file",
            "audit_archive",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "pkcs11_module",
            "pkcs11_pin_file",
        ),
        *("audit_file", "audit_webhook_secret_file"),
        mode="before",
    )
    @classmethod
    def _check_path(cls, value: object) -> object:
        # Path("") is the working directory.
        if value == "":
            raise ValueError("it is empty: write a path, or leave it out")
        return value

    @field_validator("software_statement_issuers", mode="before")
    @classmethod
    def _parse_table(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError('write a JSON object, such as {"https://publisher.example": "keys.json"}') from None

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        try:
            ip_address(value)
        except ValueError:
            # An empty one would listen on every address of the machine.
            if _NUMBER.fullmatch(value) or not _HOST_NAME.fullmatch(value):
                raise ValueError("write an address such as 127.0.0.1 or ::1, or the name of this host") from None
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _check_port(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "AFFIANT_PORT is what Kubernetes says of a service named affiant: set enableServiceLinks: false in the"
                " pod's spec, or give the service another name"
            )
        return value

    @field_validator("signing_alg")
    @classmethod
    def _check_signing_alg(cls, value: str, info: ValidationInfo) -> str:
        allowed = profiles.FAPI_2.algorithms if info.data.get("fapi") == "on" else ASYMMETRIC
        if value not in (allowed or ()):
            raise ValueError(f"write one of {', '.join(allowed or ())}")
        return value

    @field_validator("auth_methods")
    @classmethod
    def _check_auth_methods(cls, value: str, info: ValidationInfo) -> str:
        allowed = [
            name for name in names.AUTH_METHODS if info.data.get("fapi") != "on" or profiles.FAPI_2.allows_method(name)
        ]
        if not set(_names(value)) <= set(allowed):
            raise ValueError(f"write some of {', '.join(allowed)}")
        return value

    @field_validator("database")
    @classmethod
    def _check_database(cls, value: str | None) -> str | None:
        # Danger: the value contains a password, so no message repeats it.
        known = ("postgresql://", "postgres://", "sqlite:///")
        if value is not None and (value in known or not value.startswith(known)):
            raise ValueError("write postgresql://USER@HOST/NAME or sqlite:///FOLDER")
        return value

    @field_validator("client_certificate_header")
    @classmethod
    def _check_certificate_header(cls, value: str, info: ValidationInfo) -> str:
        # Attack: without this, a self-signed certificate with the name of a client authenticates as that client.
        if not Header.parse(value).is_judged and info.data.get("client_certificate_trust") == "ca":
            raise ValueError(f"{value} sends certificates of no authority: set client_certificate_trust to any")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be set together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError(
                "tls_client_ca needs tls_cert and tls_key: certificates are requested where TLS is terminated"
            )
        return self

    @field_validator("pkcs11_token")
    @classmethod
    def _check_token(cls, value: str | None, info: ValidationInfo) -> str | None:
        if (value is None) != (info.data.get("pkcs11_module") is None):
            raise ValueError("pkcs11_module and pkcs11_token must be set together")
        return value

    @field_validator("signing_key_announce_days")
    @classmethod
    def _check_announcement(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("signing_key_days", value + 1):
            raise ValueError("write fewer days than signing_key_days")
        return value

    @property
    def methods(self) -> tuple[str, ...]:
        """How clients may authenticate."""
        chosen = _names(self.auth_methods) or names.AUTH_METHODS
        return tuple(name for name in names.AUTH_METHODS if name in chosen and self.demands.allows_method(name))

    @property
    def options(self) -> Options:
        """The parsed settings, for `affiant.server.app.build`; reads the files of software_statement_issuers."""
        return Options(
            access_token_lifetime=self.access_token_lifetime,
            calendar=self.calendar,
            dpop_nonces=self.dpop_nonces,
            auth_methods=self.methods,
            demands=self.demands,
            authorization_endpoint=self.authorization_endpoint,
            console=self.console,
            software_statement_issuers=software_statement.load(self.software_statement_issuers),
            certificates=self.certificates,
            jwks_uri_allowed=parse_allowed(self.jwks_uri_allow),
            mtls_url=self.mtls_url,
            exchange_depth=self.exchange_depth,
            transaction_tokens=self.transaction_tokens,
            audit=Keep(parse_keep(self.audit_keep), self.archives),
        )

    @property
    def archives(self) -> Folder:
        """The folder of older audit records."""
        return Folder(self.audit_archive or self.data / "audit-archive", is_own=self.audit_archive is None)

    @property
    def forwarding(self) -> list[str]:
        """The peers with a trusted X-Forwarded-For: addresses and networks; ``*`` alone is every address."""
        if self.trusted_proxies.strip() == EVERY_ADDRESS:
            return [EVERY_ADDRESS]
        # A socket that listens on :: reports an IPv4 peer as ::ffff:10.0.0.1.
        return [
            shown
            for network in Proxies.parse(self.trusted_proxies).networks
            for shown in (
                str(network),
                *([f"::ffff:{network.network_address}/{96 + network.prefixlen}"] if network.version == _IPV4 else ()),
            )
        ]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each valid setting that weakens the server."""
        public = "metrics: every host that reaches {} sees how this server is used; listen on a private address"
        shown = () if is_private(self.metrics) else (public.format(self.metrics),)
        return shown + tuple(
            f"{name} believes every address: {risk}; name the addresses of your proxies"
            for name, risk in (
                ("trusted_proxies", "any client can choose the address that limits and the audit log go by"),
                ("client_certificate_proxies", "any client can choose the certificate that it is known by"),
            )
            if any(
                part.strip() == EVERY_ADDRESS or part.strip().endswith("/0") for part in getattr(self, name).split(",")
            )
        )

    @property
    def certificates(self) -> Certificates:
        """Return the sources of client certificates."""
        proxies = Proxies.parse(self.client_certificate_proxies, self.client_certificate_header)
        own_tls = self.tls_client_ca is not None
        return Certificates(proxies, own_tls=own_tls, trust=self.client_certificate_trust)

    @property
    def demands(self) -> profiles.Demands:
        """Return the rules for every client."""
        return profiles.FAPI_2 if self.fapi == "on" else profiles.NONE

    @property
    def calendar(self) -> Calendar:
        """When signing keys follow each other."""
        return Calendar(period=self.signing_key_days * DAY, announcement=self.signing_key_announce_days * DAY)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
