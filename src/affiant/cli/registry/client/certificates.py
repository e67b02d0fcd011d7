"""What `affiant client new` and `update` say of a service's certificate (RFC 8705)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.keys import PublicKey
from affiant.oauth.binding import mtls, subject
from affiant.server.registry import rules

_NAMES = {
    subject.DN: ("DN", "the subject of its certificate, such as CN=billing,O=Example"),
    subject.SAN_DNS: ("NAME", "a host name in its certificate"),
    subject.SAN_URI: ("URI", "a URI in its certificate, such as a SPIFFE ID"),
    subject.SAN_IP: ("IP", "an address in its certificate"),
    subject.SAN_EMAIL: ("EMAIL", "an e-mail address in its certificate"),
}
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)


def certificate_options(command: Any) -> Any:
    """--tls-subject-dn and the like, --certificate, --certificate-bound."""
    for member, (metavar, told) in reversed(_NAMES.items()):
        option = f"--tls-{member.removeprefix('tls_client_auth_').replace('_', '-')}"
        command = click.option(option, member, metavar=metavar, help=f"for tls_client_auth: {told}")(command)
    command = click.option(
        "--certificate-bound",
        type=click.Choice(rules.DPOP_POLICIES),
        help="whether its tokens must be bound to its certificate",
    )(command)
    return click.option("--certificate", type=_FILE, help="for self_signed_tls_client_auth: its certificate, PEM")(
        command
    )


def take_subject(options: dict[str, Any]) -> tuple[str, str] | None:
    """The one name that was given, out of the options."""
    given = {member: value for member in _NAMES if (value := options.pop(member)) is not None}
    if len(given) > 1:
        raise ConfigError(
            "a client is known by one name of its certificate (RFC 8705 section 2.1.2): give one --tls-..."
        )
    return next(iter(given.items()), None)


def key_of(path: Path) -> PublicKey:
    """The key of the certificate in this file, with the certificate."""
    try:
        certificate = mtls.parse_pem(path.read_text("ascii"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{path} holds no certificate in PEM (BEGIN CERTIFICATE)") from None
    members = jwk.build(certificate.content.public_key())
    return keys.parse_public_jwk({**members, "x5c": [b64encode(certificate.der).decode("ascii")]})
