"""Tokens of other makers' issuers, after their public documentation: which are accepted, and which JWTs are not."""

from typing import Any, NamedTuple

import pytest
from tests.unit.resource.issuer import NOW, Check, reason_of

from affiant.errors import ConfigError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.key_set import KeySet
from affiant.resource import Guard, Issuer, presets

API, KEY = "https://orders.example", keys.generate("ES256")
JWKS = KeySet((KEY.public(),)).to_jwks()
TENANT, APP, CLIENT = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
SERVICE = "billing@project.iam.gserviceaccount.com"
POOL = "eu-central-1_AbCdEfGhI"
TIMES = {"iat": NOW, "nbf": NOW, "exp": NOW + 600}


class Shape(NamedTuple):
    """An access token of an issuer, and what the caller is then."""

    issuer: Issuer
    audience: str
    typ: str | None
    claims: dict[str, Any]
    client_id: str
    sub: str
    scopes: set[str]
    token_id: str = ""


_KEYCLOAK = {
    "iss": "https://sso.example/realms/services",
    "jti": "trrtcc:1",
    "aud": [API, "account"],
    "sub": "f1",
    "typ": "Bearer",
    "azp": "billing",
    "acr": "1",
    "realm_access": {"roles": ["offline_access"]},
    "scope": "profile orders.read",
    "clientHost": "10.0.0.1",
    "client_id": "billing",
}
_ENTRA = {
    "aud": APP,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "aio": "E2Z",
    "azp": CLIENT,
    "azpacr": "2",
    "oid": "o1",
    "rh": "0.A",
    "roles": ["Orders.Read", "Orders.Write"],
    "sub": "o1",
    "tid": TENANT,
    "uti": "u1",
    "ver": "2.0",
}
_ENTRA_1 = {
    **{name: value for name, value in _ENTRA.items() if name not in ("azp", "azpacr")},
    "aud": "api://orders",
    "iss": f"https://sts.windows.net/{TENANT}/",
    "appid": CLIENT,
    "appidacr": "1",
    "ver": "1.0",
}
_AUTH0 = {
    "iss": "https://tenant.eu.auth0.com/",
    "sub": "abc@clients",
    "aud": API,
    "azp": "abc",
    "scope": "orders.read",
    "gty": "client-credentials",
    "permissions": ["orders.read", "orders.write"],
}
_OKTA = {
    "ver": 1,
    "jti": "AT.x1",
    "iss": "https://dev-1.okta.com/oauth2/default",
    "aud": API,
    "cid": "0oa1",
    "scp": ["orders.read"],
    "sub": "0oa1",
}
_COGNITO = {
    "iss": f"https://cognito-idp.eu-central-1.amazonaws.com/{POOL}",
    "sub": "1example",
    "client_id": "1example",
    "token_use": "access",
    "scope": "orders/read",
    "auth_time": NOW,
    "version": 2,
    "jti": "j1",
}
_GOOGLE = {
    "iss": "https://accounts.google.com",
    "aud": API,
    "azp": "1070",
    "sub": "1070",
    "email": SERVICE,
    "email_verified": True,
}
_A0 = presets.auth0("tenant.eu.auth0.com", jwks=JWKS)
_CO = presets.cognito(POOL, clients=["1example"], jwks=JWKS)
_KC = presets.keycloak("https://sso.example/", "services", jwks=JWKS)
_V1, _V2 = (presets.entra(TENANT, version=version, jwks=JWKS) for version in (1, 2))
_GO = presets.google(clients={SERVICE: "orders.read"}, jwks=JWKS)
SHAPES = {
    "keycloak": Shape(_KC, API, "JWT", _KEYCLOAK, "billing", "f1", {"profile", "orders.read"}, "trrtcc:1"),
    "entra": Shape(_V2, APP, "JWT", _ENTRA, CLIENT, "o1", {"Orders.Read", "Orders.Write"}, "u1"),
    "entra 1": Shape(_V1, "api://orders", "JWT", _ENTRA_1, CLIENT, "o1", {"Orders.Read", "Orders.Write"}, "u1"),
    "auth0": Shape(_A0, API, "JWT", _AUTH0, "abc", "abc@clients", {"orders.read"}),
    "okta": Shape(
        presets.okta("dev-1.okta.com", jwks=JWKS), API, None, _OKTA, "0oa1", "0oa1", {"orders.read"}, "AT.x1"
    ),
    "cognito": Shape(_CO, API, None, _COGNITO, "1example", "1example", {"orders/read"}, "j1"),
    "google": Shape(_GO, API, "JWT", _GOOGLE, SERVICE, "1070", {"orders.read"}),
}


def sign(shape: Shape, *, header: str | None = None, **changes: Any) -> bytes:
    members = {**TIMES, **shape.claims, **changes}
    claims = {name: value for name, value in members.items() if value is not None}
    typ = header or shape.typ
    return b"Bearer " + compact.sign({"typ": typ} if typ is not None else {}, claims, KEY).encode()


def guarded(shape: Shape) -> Guard:
    return Guard(shape.issuer, audience=shape.audience, clock=lambda: NOW)


@pytest.mark.parametrize("name", SHAPES)
async def test_access_token_is_accepted(name: str, check: Check) -> None:
    shape = SHAPES[name]
    caller = await check(guarded(shape), [sign(shape)])
    assert (caller.client_id, caller.sub, caller.token_id) == (shape.client_id, shape.sub, shape.token_id)
    assert caller.scopes == shape.scopes


@pytest.mark.attack(251)
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("keycloak", {"typ": "ID", "nonce": "n"}),
        ("keycloak", {"typ": "Refresh"}),
        ("keycloak", {"typ": "Logout", "exp": NOW + 60}),
        ("keycloak", {"typ": None}),
        ("entra", {"azp": None, "roles": None, "aud": APP, "nonce": "n"}),  # an ID token for the API itself
        ("entra", {"azp": None}),
        ("entra", {"appid": CLIENT, "azp": None}),
        ("entra 1", {"appid": None}),
        ("entra 1", {"ver": "2.0"}),
        ("auth0", {"azp": None, "scope": None, "gty": None, "nonce": "n"}),
        ("auth0", {"aud": "abc"}),
        ("okta", {"cid": None, "scp": None, "jti": "ID.x1"}),
        ("okta", {"jti": "ID.x1"}),
        ("okta", {"header": "application/okta-internal-at+jwt"}),
        ("cognito", {"token_use": "id", "aud": "1example", "client_id": None}),
        ("cognito", {"token_use": None}),
        ("google", {"azp": "1.apps.googleusercontent.com", "sub": "2", "email": "person@gmail.com"}),
        ("google", {"azp": "1.apps.googleusercontent.com"}),
    ],
)
async def test_other_jwt_of_the_issuer_is_refused(name: str, changes: dict[str, Any]) -> None:
    shape = SHAPES[name]
    token = sign(shape, **changes)
    assert await reason_of(guarded(shape), token) in (Reason.TOKEN_CLAIM, Reason.TOKEN_AUDIENCE, Reason.TOKEN_TYPE)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("keycloak", {"aud": "account"}),
        ("keycloak", {"aud": None}),
        ("keycloak", {"client_id": "other"}),
        ("keycloak", {"iss": "https://sso.example/realms/other"}),
        ("entra", {"roles": None}),  # any client of the tenant gets it
        ("entra", {"tid": CLIENT}),
        ("entra", {"iss": f"https://login.microsoftonline.com/{CLIENT}/v2.0"}),
        ("auth0", {"iss": "https://tenant.eu.auth0.com"}),
        ("cognito", {"client_id": "2other", "sub": "2other"}),
        ("cognito", {"aud": "https://other.example"}),
        ("google", {"email": "other@project.iam.gserviceaccount.com"}),
        ("google", {"email": "billing@project.iam.gserviceaccount.com.evil.example"}),
        ("google", {"email_verified": "true"}),
        ("google", {"email_verified": 1}),
        ("google", {"email": None}),
    ],
)
async def test_token_for_somebody_else_is_refused(name: str, changes: dict[str, Any]) -> None:
    shape = SHAPES[name]
    assert await reason_of(guarded(shape), sign(shape, **changes)) is not None


@pytest.mark.parametrize("name", SHAPES)
async def test_times_and_binding_are_judged_all_the_same(name: str) -> None:
    shape = SHAPES[name]
    for changes, reason in (
        ({"exp": NOW - 31}, Reason.TOKEN_EXPIRED),
        ({"exp": None}, Reason.TOKEN_CLAIM),
        ({"nbf": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"cnf": {"jkt": "x"}}, Reason.TOKEN_BINDING),
    ):
        assert await reason_of(guarded(shape), sign(shape, **changes)) is reason


async def test_scopes_of_a_user_are_not_joined_by_roles(check: Check) -> None:
    """Attack: a client that may read on behalf of an administrator writes."""
    shape = SHAPES["entra"]
    caller = await check(guarded(shape), [sign(shape, scp="Orders.Read")])
    assert caller.scopes == {"Orders.Read"}
    chosen = presets.auth0("tenant.eu.auth0.com", scope=("permissions",), jwks=JWKS)
    auth0 = SHAPES["auth0"]._replace(issuer=chosen)
    assert (await check(guarded(auth0), [sign(auth0)])).scopes == {"orders.read", "orders.write"}


async def test_issuers_of_several_makers_in_one_guard(check: Check) -> None:
    named = {name: SHAPES[name] for name in ("keycloak", "entra", "auth0", "okta", "cognito", "google")}
    guard = Guard([shape.issuer for shape in named.values()], audience=[API, APP], clock=lambda: NOW)
    for shape in named.values():
        assert (await check(guard, [sign(shape)])).client_id == shape.client_id


@pytest.mark.parametrize(("name", "said"), [
    ("keycloak", "typ JWT; client_id from azp or client_id"),
    ("entra", "typ JWT; no jti; client_id from azp; jti from uti; scope from scp or roles"),
    ("auth0", "typ JWT; no jti; client_id from azp or client_id"),
    ("okta", "typ JWT; typ absent; client_id from cid; scope from scp"),
    ("cognito", "typ JWT; typ absent; no aud"),
    ("google", "typ JWT; no jti; client_id from email; scope from no claim"),
])  # fmt: skip
def test_preset_says_what_it_waives(name: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    guarded(SHAPES[name])
    assert f", {said})" in repr(SHAPES[name].issuer)
    assert f", {said})" in caplog.text


@pytest.mark.parametrize("make", [
    lambda: presets.keycloak("http://sso.example", "services"),
    lambda: presets.entra("contoso.onmicrosoft.com"),
    lambda: presets.entra("common"),
    lambda: presets.entra(TENANT, version=3),
    lambda: presets.auth0("https://tenant.eu.auth0.com"),
    lambda: presets.okta("dev-1.okta.com/oauth2"),
    lambda: presets.cognito("eu-central-1", clients=["a"]),
    lambda: presets.cognito("eu-central-1_a/../b", clients=["a"]),
    lambda: presets.cognito(POOL, clients=[]),
    lambda: presets.google(clients=()),
])  # fmt: skip
def test_impossible_preset_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_preset_of_a_region_in_china() -> None:
    issuer = presets.cognito("cn-north-1_AbC", clients=["a"])
    assert issuer.identifier == "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_AbC"
