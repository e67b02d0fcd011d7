"""google-auth's service-account credentials, as docs/how-to/google-auth.md says, get tokens and call a guarded API."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account
from tests.process import Server
from tests.rsa_keys import rsa_2048

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "google-auth.md"
KEY = rsa_2048()
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def _register(server: Server, name: str, api: str, *more: str) -> dict[str, Any]:
    """What Google calls a service account's info, of a client of this name."""
    public = server.folder / f"{name}.pub"
    public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ["--public-key", str(public), "--alg", "RS256", "--grant", GRANT, "--resource", api]
    server.affiant("client", "new", name, *words, "--scope", "orders.read", "--scope", "orders.write")
    server.affiant("client", "update", name, "--lifetime", "legacy", "--jti", "legacy", *more)
    return {
        "type": "service_account",
        "client_email": name,
        "private_key": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{server.issuer}/token",
    }


def _credentials(info: dict[str, Any], audience: str, **options: Any) -> Any:
    options.setdefault("subject", info["client_email"])
    options.setdefault("scopes", ["orders.read"])
    build: Any = service_account.Credentials.from_service_account_info
    return build(info, additional_claims={"aud": audience}, **options)


def test_google_auth_calls_the_api(server: Server, api: str) -> None:
    """A token for the scope that the assertion names, and the API takes it."""
    info = _register(server, "google", api)
    credentials = _credentials(info, server.issuer)
    make: Any = AuthorizedSession
    with make(credentials) as session:
        reply = session.get(f"{api}/orders")
    assert (reply.status_code, reply.json()) == (200, {"for": "google"})
    refused = httpx2.post(f"{api}/orders", headers={"Authorization": f"Bearer {credentials.token}"})
    assert refused.status_code == 403  # the scope is that of the assertion, not all that the client has


def test_its_token_is_shown_to_no_third_party(server: Server, api: str) -> None:
    """With a subject, google-auth does not ask Google where the account may be used, with our token in its hand."""
    info = _register(server, "third", api)
    assert _credentials(info, server.issuer)._build_regional_access_boundary_lookup_url() is None


@pytest.mark.parametrize("audience", ["https://oauth2.googleapis.com/token", "token endpoint"])
def test_google_s_own_audience_is_refused(server: Server, api: str, audience: str) -> None:
    """What is made for Google is not for here; and the token endpoint only where a client was allowed to name it."""
    name = "aud" if audience == "token endpoint" else "aud2"
    info = _register(server, name, api)
    named = info["token_uri"] if audience == "token endpoint" else audience
    with pytest.raises(RefreshError, match="invalid_grant"):
        _credentials(info, named).refresh(Request())
    if audience == "token endpoint":
        server.affiant("client", "update", name, "--audience", "legacy")
        credentials = _credentials(info, named)
        credentials.refresh(Request())
        assert credentials.token


def test_without_subject_there_is_no_token(server: Server, api: str) -> None:
    """RFC 7523 section 3 item 2: sub is required."""
    info = _register(server, "nosub", api)
    with pytest.raises(RefreshError, match="invalid_grant"):
        _credentials(info, server.issuer, subject=None).refresh(Request())


def test_the_how_to_runs(server: Server, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet of the page, word for word, with the addresses of this test."""
    info = _register(server, "billing-google", api)
    (tmp_path / "billing.json").write_text(json.dumps(info))
    snippet = HOW_TO.read_text().split("```python\n")[1].split("```")[0]
    for written, here in (("https://as.example", server.issuer), ("https://orders.example", api)):
        assert written in snippet
        snippet = snippet.replace(written, here)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(snippet.replace('"billing"', '"billing-google"'), found)
    assert found["reply"].json() == {"for": "billing-google"}
    found["reply"].connection.close()  # the page does not; the warning would come in a later test
