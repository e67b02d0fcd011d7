"""What a client may send to register itself: metadata as JSON, mostly near enough to right to get far."""

from typing import Any

from hypothesis import strategies as st
from tests.certificates import make
from tests.fuzz.house import FOREIGN, STRANGER
from tests.fuzz.strategies import INDEX, TEXTS, VALUES, some, spelt
from tests.rsa_keys import rsa_key
from tests.wire import Request

from affiant.server.registration.metadata import MEMBERS
from affiant.testing import KEY

Strategy = st.SearchStrategy

RSA, CERTIFIED = rsa_key(), make(dn="CN=fuzz")
_PUBLIC: tuple[dict[str, Any], ...] = tuple(key.public().to_jwk() for key in (KEY, FOREIGN, STRANGER, RSA))
_SINGLE = st.one_of(
    st.sampled_from((*_PUBLIC, CERTIFIED.public.to_jwk(), KEY.to_jwk(), {"kty": "oct", "k": "A" * 43})), VALUES
)
_KEY_MEMBERS = st.sampled_from(
    ("kty", "crv", "x", "y", "n", "e", "d", "k", "kid", "alg", "use", "key_ops", "x5c", "x5t#S256", "x5u", "oth")
)
_CHANGED = st.tuples(st.sampled_from(_PUBLIC), _KEY_MEMBERS, VALUES).map(lambda drawn: {**drawn[0], drawn[1]: drawn[2]})
_SETS = st.lists(st.one_of(_SINGLE, _CHANGED), max_size=4).map(lambda members: {"keys": members})
_METHODS = (
    *("private_key_jwt", "client_secret_basic", "client_secret_post", "client_secret_jwt", "none"),
    *("tls_client_auth", "self_signed_tls_client_auth", "PRIVATE_KEY_JWT"),
)
_URLS = (
    *("https://keys.example/jwks", "https://127.0.0.1/", "http://keys.example/", "https://[::1]:443/", "https://a.example:22/"),
    *("https://u:p@a.example/", "https://a.example/#f", "//a", "https://", "https://[", "https://[v1.x]/", "https://\u00e9/"),
    *("https://a.example:99999999/", "javascript:alert(1)", "https://1.2.3/", "https://0x7f.1/", "https://xn--a/", "https://a..b/"),
)  # fmt: skip
_SUBJECTS = ("tls_client_auth_subject_dn", "tls_client_auth_san_ip", "tls_client_auth_san_email")
_ODD: dict[str, Strategy[Any]] = {
    **dict.fromkeys(sorted(MEMBERS), VALUES),
    "jwks": st.one_of(_SETS, _SETS, VALUES),
    "token_endpoint_auth_method": st.one_of(st.sampled_from(_METHODS), VALUES),
    "token_endpoint_auth_signing_alg": st.one_of(st.sampled_from(("ES256", "RS256", "none", "HS256")), VALUES),
    "grant_types": st.one_of(
        st.lists(st.sampled_from(("client_credentials", "refresh_token", "implicit", "x")), max_size=3), VALUES
    ),
    "jwks_uri": st.one_of(st.sampled_from(_URLS), VALUES),
    "client_uri": st.one_of(st.sampled_from(_URLS), VALUES),
    "scope": st.one_of(st.sampled_from(("read", "read write", "admin", "read  write", "x " * 70)), VALUES),
    "contacts": st.one_of(st.lists(TEXTS, max_size=18), VALUES),
    "software_statement": st.one_of(st.sampled_from(("a.b.c", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.")), VALUES),
    **{
        name: st.one_of(st.sampled_from(("CN=a", "CN=a,", "2.5.4.3=#00", "::1", "a@b", "#", "CN=\\zz", "=")), VALUES)
        for name in _SUBJECTS
    },
    **dict.fromkeys(("client_id", "client_secret", "redirect_uris", "response_types", "x", "", "jwks#de"), VALUES),
    "no jwks": st.none(),
    "no token_endpoint_auth_method": st.none(),
    "a secret": st.none(),
    "a certificate": st.none(),
}
_WHICH = some(sorted(_ODD))
_TYPES = st.sampled_from(
    (b"application/json",) * 20
    + (b"application/json; charset=utf-8", b"text/plain", b"", b"\xff", b"application/json;")
)


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, Any]:
    """The metadata of a client, of which a few members may be odd, missing or more."""
    members: dict[str, Any] = {
        "client_name": "Fuzz",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [_PUBLIC[0]]},
        "scope": "read",
    }
    for name in draw(_WHICH):
        if name.startswith("no "):
            members.pop(name.removeprefix("no "), None)
        elif name == "a secret":
            members.pop("jwks", None)
            members["token_endpoint_auth_method"] = "client_secret_jwt"
        elif name == "a certificate":
            members["jwks"] = {"keys": [CERTIFIED.public.to_jwk()]}
            members["token_endpoint_auth_method"] = "self_signed_tls_client_auth"
        else:
            members[name] = draw(_ODD[name])
    return members


_METADATA = metadata()
_REQUESTS = st.sampled_from((False, False, True))


@st.composite
def registrations(draw: st.DrawFn, token: str, client_id: str, access_token: str) -> Request:
    """A request to register, or to replace what this client registered; whole or in pieces."""
    is_replacement = draw(_REQUESTS)
    named = {"client_id": client_id} if is_replacement else {}
    body = draw(spelt(_METADATA.map(lambda members: {**named, **members})))
    cut = draw(INDEX) % (len(body) + 1)
    return Request(
        pieces=(body[:cut], body[cut:]),
        method="PUT" if is_replacement else "POST",
        path=f"/register/{client_id}" if is_replacement else "/register",
        headers=(
            (b"content-type", draw(_TYPES)),
            (b"authorization", f"Bearer {access_token if is_replacement else token}".encode()),
        ),
        is_whole=draw(INDEX) % 50 != 7,
    )
