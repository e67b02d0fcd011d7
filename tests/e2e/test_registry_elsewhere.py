"""The registry over the network: every command that changes it, with --url; and a machine that registers itself."""

import json
import stat
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from authlib.integrations.requests_client import OAuth2Session
from tests.process import Server

from affiant.client.identity import Service
from affiant.errors import Refused
from affiant.jose import keys

API = "https://orders.example"
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, and the credentials of an owner next to it."""
    with Server(tmp_path_factory.mktemp("owned")) as server:
        server.add_api()
        server.affiant("admin", "bootstrap", "chief")
        yield server


def there(server: Server, *words: str) -> Any:
    """What the command says when it is for a server elsewhere."""
    return server.affiant(*words, "--url", server.issuer, "-c", "chief.affiant.json")


def last_record(server: Server) -> dict[str, Any]:
    (last,) = [row["record"] for row in server.affiant("audit", "show", "-n", "20") if row["record"].get("by")][-1:]
    return dict(last)


def _public(folder: Path, name: str) -> str:
    made = keys.generate("ES256").public()
    (folder / name).write_text(json.dumps(made.to_jwk()))
    return made.kid


def _is_let_in(server: Server, name: str) -> bool:
    try:
        Service.from_credentials(server.folder / f"{name}.affiant.json").token()
    except Refused as refusal:
        assert refusal.error == "invalid_client"
        return False
    return True


def test_a_service_and_its_api(owned: Server) -> None:
    """Registered, changed and used; what is said is what the data folder says."""
    made = there(owned, "api", "new", "bills", "--identifier", "https://bills.example", "--scope", "bills.read")
    assert (made["signing_alg"], made["is_default"]) == (None, False)
    changed = there(owned, "api", "update", "bills", "--signing-alg", "PS256", "--details-type", "bill")
    assert (changed["signing_alg"], changed["authorization_details_types"]) == ("PS256", ["bill"])
    assert any({**api, **changed} == api for api in owned.affiant("api", "list"))

    made = there(
        owned, "client", "new", "far", "--scope", "orders.read", "--name", "Far away", "--details-type", "bill"
    )
    (key,) = made["keys"]
    path = owned.folder / "far.affiant.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = owned.credentials("far")
    assert (written["issuer"], written["key"]["kid"]) == (owned.issuer, key["kid"])
    assert (key["thumbprint"], key["state"]) == (keys.parse_private_jwk(written["key"]).public().thumbprint, "active")
    assert (made["client_name"], made["authorization_details_types"]) == ("Far away", ["bill"])
    assert written["key"]["d"] not in (owned.folder / "affiant-data" / "affiant.db").read_bytes().decode("latin-1")
    assert _is_let_in(owned, "far")

    changed = there(
        owned, "client", "update", "far", "--dpop", "required", "--jti", "legacy", "--scope", "orders.write"
    )
    assert (changed["dpop_bound_access_tokens"], changed["jti_policy"]) == (True, "legacy")
    seen = owned.affiant("client", "show", "far")
    assert {**seen, **changed} == seen  # which has its use too
    record = last_record(owned)
    assert (record["by"], record["subject"], record["outcome"]) == ("chief", "client far", "changed")
    assert json.loads(record["before"]) == {
        "scope": ["orders.read"], "dpop_bound_access_tokens": False, "jti_policy": "strict"
    }  # fmt: skip
    found = there(owned, "client", "check")
    assert found == owned.affiant("client", "check")
    assert {one["reason"] for one in found} == {"client.no_owner"}


def test_who_has_a_key_or_an_address_gives_that(owned: Server) -> None:
    """No file is written where there is nothing to write, and what two options say is refused."""
    _public(owned.folder, "given.json")
    assert there(owned, "client", "new", "given", "--public-key", "given.json")["credentials"] is None
    hosted = there(owned, "client", "new", "hosted", "--jwks-uri", "https://billing.example/jwks.json")
    assert (hosted["jwks_uri"], hosted["keys"]) == ("https://billing.example/jwks.json", [])
    for words, code, said in [
        (("--public-key", "given.json", "--jwks", "given.json"), 8, "give one of"),
        (("--scope", "a b"), 2, "--scope a --scope b"),
        (("--auth", "private_key_jwt", "--tls-san-dns", "m.example"), 8, "tls_client_auth"),
        (("--auth", "tls_client_auth", "--tls-san-dns", "m.example"), 8, "takes clients that authenticate by"),
    ]:
        done = owned.run("client", "new", "no", *words, "--url", owned.issuer, "-c", "chief.affiant.json")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (owned.folder / "no.affiant.json").exists()


def _is_shut_out(server: Server, name: str) -> bool:
    """By each worker within a second: that is how long one may go by what it looked up before."""
    end = time.monotonic() + 1
    while _is_let_in(server, name):
        if time.monotonic() > end:
            return False
    return not any(_is_let_in(server, name) for _ in range(4))


def test_an_operator_leads_a_key_on(owned: Server) -> None:
    there(owned, "client", "new", "turning", "--scope", "orders.read")
    old, new = owned.credentials("turning")["key"]["kid"], _public(owned.folder, "next.json")
    there(owned, "client", "key", "add", "turning", "--public-key", "next.json")
    told = {key["kid"]: key for key in there(owned, "client", "key", "list", "turning")}
    assert {kid: key["state"] for kid, key in told.items()} == {old: "active", new: "active"}
    there(owned, "client", "key", "cancel", "turning", new)
    assert _is_let_in(owned, "turning")
    another = _public(owned.folder, "another.json")
    there(owned, "client", "key", "add", "turning", "--public-key", "another.json")
    there(owned, "client", "key", "complete", "turning", old)
    there(owned, "client", "key", "revoke", "turning", another)
    assert _is_shut_out(owned, "turning")
    record = last_record(owned)
    assert (record["subject"], record["outcome"]) == ("client turning", "revoked")


def test_an_operator_leads_a_secret_on(owned: Server) -> None:
    """It is written where the service reads it, and then shown nowhere."""
    first = there(owned, "client", "new", "legacy", "--auth", "client_secret_basic", "--scope", "orders.read")
    made = there(owned, "client", "secret", "new", "legacy", "--into", "legacy.affiant.json")
    second = owned.credentials("legacy")["client_secret"]
    assert second != first["client_secret"]
    assert second not in json.dumps(made)
    assert stat.S_IMODE((owned.folder / "legacy.affiant.json").stat().st_mode) == 0o600
    there(owned, "client", "secret", "complete", "legacy")
    assert _is_let_in(owned, "legacy")
    third = there(owned, "client", "secret", "new", "legacy")
    assert third["client_secret"] not in (second, None)
    there(owned, "client", "secret", "cancel", "legacy")
    assert _is_let_in(owned, "legacy")
    named = made["secrets"][-1]["id"]
    there(owned, "client", "secret", "revoke", "legacy", named)
    assert _is_shut_out(owned, "legacy")
    done = owned.run("client", "secret", "new", "meshed", "--into", "legacy.affiant.json")
    assert (done.returncode, "is for legacy" in done.stderr) == (8, True)


def _register(server: Server, *words: str, token: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return server.run("register", *words, given=token, **environment)


@pytest.mark.rfc(7591, "3")
@pytest.mark.rfc(7592, "2.3")
def test_a_machine_registers_itself_and_leaves(owned: Server) -> None:
    """By an invitation, with a key made there; afterwards nothing is left of it, there or here."""
    made = there(owned, "invitation", "new", "--scope", "orders.read", "--uses", "2", "--out", "fleet.invitation")
    path = owned.folder / "fleet.invitation"
    token = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in json.dumps(made)

    done = _register(owned, owned.issuer, "machine", "--initial-access-token-file", "fleet.invitation")
    assert done.returncode == 0, done.stderr
    written = owned.credentials("machine")
    secrets = (token, written["registration_access_token"], written["key"]["d"])
    assert not any(secret in done.stdout + done.stderr for secret in secrets)
    assert stat.S_IMODE((owned.folder / "machine.affiant.json").stat().st_mode) == 0o600
    assert written["registration_client_uri"].startswith(f"{owned.issuer}/register/")
    assert _is_let_in(owned, "machine")

    assert _register(owned, owned.issuer, "--initial-access-token-file", "-", token=f"{token}\n").returncode == 0
    (left,) = there(owned, "invitation", "list")
    assert left["uses"] == 0
    done = _register(owned, owned.issuer, "third", AFFIANT_INITIAL_ACCESS_TOKEN=token)
    assert (done.returncode, token in done.stdout + done.stderr) == (4, False)
    assert not (owned.folder / "third.affiant.json").exists()

    done = _register(owned, "--remove", "-c", "machine.affiant.json")
    assert done.returncode == 0, done.stderr
    assert not (owned.folder / "machine.affiant.json").exists()
    assert owned.run("client", "show", written["client_id"]).returncode == 3
    there(owned, "invitation", "revoke", left["id"])
    assert there(owned, "invitation", "list") == []


def test_what_cannot_register_is_told_in_one_line(owned: Server) -> None:
    for words, code, said in [
        ((), 2, "name the server"),
        (("--remove",), 2, "--remove"),
        ((owned.issuer, "nobody"), 8, "no initial access token"),
        ((owned.issuer, "nobody", "--initial-access-token-file", "nowhere"), 3, "nowhere"),
        (("http://as.example", "nobody", "--initial-access-token-file", "-"), 8, "http://as.example"),
        (("--remove", "-c", "chief.affiant.json"), 8, "did not register itself"),
    ]:
        done = _register(owned, *words, token="token")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    done = _register(owned, owned.issuer, "nobody", "--initial-access-token-file", "-", token="a b\nc")
    assert (done.returncode, "a b" in done.stderr) == (8, False)


def test_imported_clients_get_tokens_with_their_old_secrets(owned: Server) -> None:
    """A stock client of another maker asks as it asked Keycloak: only the URL is another one."""
    export = PROJECT / "tests" / "unit" / "cli" / "registry" / "importing" / "exports" / "keycloak.json"
    secrets = {one["clientId"]: one.get("secret") for one in json.loads(export.read_text())["clients"]}
    chosen = ("--client", "portal", "--client", "urn:shop:billing", "--with-apis", "--yes")
    there(owned, "client", "import", str(export), "--client", "hmac", *chosen)
    for name in ("portal", "urn:shop:billing"):
        auth = _form_encoded if ":" in name else "client_secret_basic"
        with OAuth2Session(name, secrets[name], token_endpoint_auth_method=auth) as asking:
            token = asking.fetch_token(f"{owned.issuer}/token", grant_type="client_credentials")
        assert owned.affiant("inspect", token["access_token"])["claims"]["client_id"] == name
    assert secrets["portal"] not in "".join(
        path.read_text("latin-1") for path in owned.data.iterdir() if path.is_file()
    )


def _form_encoded(client: Any, method: str, uri: str, headers: Any, body: str) -> Any:
    """RFC 6749 section 2.3.1: authlib does not encode the two halves."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return uri, {**headers, "Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, body
