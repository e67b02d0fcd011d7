"""Programs and files that get a token for one client, with its values filled in. No secret is in one, only paths.

Attack: a value of a registration, such as a scope with $(...), is pasted into a shell. So each file has a language, and
each value is written as a string of that language, whatever the template says.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from affiant.oauth import names
from affiant.system.files import SUFFIX, file_name
from affiant.system.values import Value

_BY_KEY = (names.PRIVATE_KEY_JWT,)
_ANY = (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT, names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
_BY_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
_COORDINATES = {"ES256": 64, "ES384": 96, "ES512": 132}  # hexadecimal digits of r and s (RFC 7518 section 3.4)
_HASHES = {"256": "sha256", "384": "sha384", "512": "sha512"}


class Snippet(Value, frozen=True):
    """A program or file; `note` says what it needs."""

    name: str
    title: str
    note: str
    text: str


class _Row(NamedTuple):
    name: str
    title: str
    note: str
    methods: Sequence[str]
    algs: Sequence[str] = ()  # any if empty


_FILE = "The credentials file is the one that was downloaded, or that  affiant client new  wrote."
_ROWS = (
    _Row("curl.sh", "curl and openssl", f"bash. {_FILE} affiant key convert  makes its key a PEM file.", _BY_KEY,
         (*_COORDINATES, "RS256", "RS384", "RS512")),
    _Row("secret.sh", "curl", "The secret is in a file that only the service can read.", _BY_SECRET),
    _Row("affiant.sh", "Command line", f"pip install affiant. {_FILE}", _ANY),
    _Row("sdk.py", "Python, affiant", f"pip install affiant. It caches tokens and renews them in time. {_FILE}", _ANY),
    _Row("pyjwt.py", "Python, PyJWT", f"pip install pyjwt[crypto] httpx2. {_FILE}", _BY_KEY),
    _Row("openid-client.mjs", "JavaScript, openid-client", f"npm install openid-client. {_FILE}", _BY_KEY, ("ES256",)),
    _Row("jose.mjs", "JavaScript, jose", f"npm install jose. {_FILE}", _BY_KEY),
    _Row("main.go", "Go", f"go get golang.org/x/oauth2 github.com/go-jose/go-jose/v4. {_FILE}", _BY_KEY),
    _Row("GetToken.java", "Java, Nimbus", f"com.nimbusds:oauth2-oidc-sdk. {_FILE}", _BY_KEY, tuple(_COORDINATES)),
    _Row("application.yml", "Spring Boot", "The bean that signs is in the reference of Spring Security, under"
         " private_key_jwt: it takes the JWK of the credentials file.", _BY_KEY),
    _Row("kafka.properties", "Kafka, librdkafka", "The client needs the grant"
         " urn:ietf:params:oauth:grant-type:jwt-bearer. Its key is a PEM file.", _BY_KEY, ("RS256",)),
    _Row("fastmcp.py", "FastMCP, MCP SDK", f"pip install affiant mcp. {_FILE}", _ANY),
)  # fmt: skip


def build(client: Mapping[str, Any], issuer: str, apis: Sequence[Mapping[str, Any]]) -> list[Snippet]:
    """Return the snippets for how this client authenticates; `apis` are those of the server."""
    method, alg = client["token_endpoint_auth_method"], _alg(client)
    values = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "client_id": client["client_id"],
        "scope": " ".join(client["scope"]),
        "resource": _resource(client, apis),
        "method": method,
        "alg": alg,
        "kid": _kid(client),
        "file": file_name(client["client_id"]),
        "pem": file_name(client["client_id"]).removesuffix(SUFFIX) + ".pem",
        "secret_file": file_name(client["client_id"]).removesuffix(SUFFIX) + ".secret",
        "assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
    }
    fixed = {"digits": _COORDINATES.get(alg, 0), "digest": _HASHES.get(alg[-3:], "sha256")}
    return [
        Snippet(row.name.replace(".", "-"), row.title, row.note, _render(row.name, values, fixed))
        for row in _ROWS
        if method in row.methods and (not row.algs or alg in row.algs)
    ]


def _render(name: str, values: Mapping[str, str], fixed: Mapping[str, Any]) -> str:
    text = (resources.files(__name__) / "files" / f"{name}.txt").read_text("utf-8")
    return _environment(name.rpartition(".")[2]).from_string(text).render(**values, **fixed)


@cache
def _environment(language: str) -> Environment:
    quote = _QUOTES[language]

    def finalize(value: Any) -> Any:
        return value if isinstance(value, int) else quote(str(value))

    made = Environment(
        autoescape=False,  # noqa: S701 - no HTML: see finalize
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["json"] = json.dumps
    return made


def _property(text: str) -> str:
    """Return the value of a Java property; librdkafka and Java take it as it is."""
    return text.replace("\\", "\\\\")


# JSON strings in ASCII are strings of these languages, too.
_QUOTES: dict[str, Callable[[str], str]] = {
    "sh": shlex.quote,
    "properties": _property,
    "py": json.dumps,
    "mjs": json.dumps,
    "go": json.dumps,
    "java": json.dumps,
    "yml": json.dumps,
}


def _alg(client: Mapping[str, Any]) -> str:
    keys = [key for key in client["keys"] if key["state"] != "revoked"]
    usual = {"RSA": "RS256", "OKP": "EdDSA"}.get(keys[-1]["kty"], _of_curve(keys[-1])) if keys else "ES256"
    return str(client["token_endpoint_auth_signing_alg"] or (keys[-1]["alg"] if keys else None) or usual)


def _of_curve(key: Mapping[str, Any]) -> str:
    return {"P-384": "ES384", "P-521": "ES512"}.get(key["crv"] or "", "ES256")


def _kid(client: Mapping[str, Any]) -> str:
    return next((key["kid"] for key in reversed(client["keys"]) if key["state"] != "revoked" and key["kid"]), "")


def _resource(client: Mapping[str, Any], apis: Sequence[Mapping[str, Any]]) -> str:
    """Return the API that the token is for, as a request names it."""
    named: Sequence[str] = client["resources"]
    usual = [api["identifier"] for api in apis if api["is_default"]]
    return named[0] if named else (usual[0] if usual else "")
