"""`affiant client new`: a client and its credentials file, or neither."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from affiant.cli.registry.client import client
from affiant.cli.registry.handover import delivery
from affiant.client.credentials import file as credentials
from affiant.errors import ConfigError
from affiant.jose import keys

MADE = credentials.Credentials("https://as.example", "billing", "private_key_jwt")


def _run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(client, [*words, "--data", str(data), "--json"])


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_basic", "client_secret_jwt"])
def test_client_whose_file_cannot_be_written_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its key is lost, and it would block the next attempt."""
    data = tmp_path / "data"
    failed = _run(data, "new", "billing", "--auth", method)
    assert isinstance(failed.exception, ConfigError)
    assert "cannot be written" in str(failed.exception)
    monkeypatch.chdir(tmp_path)
    assert json.loads(_run(data, "list").stdout)["data"] == []
    assert _run(data, "new", "billing", "--auth", method).exit_code == 0
    assert credentials.read(tmp_path / "billing.affiant.json").client_id == "billing"


async def test_cancelled_registration_is_finished() -> None:
    begun, may_end, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await may_end.wait()
        done.append("both halves")

    task = asyncio.create_task(delivery.to_the_end(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["both halves"]


async def test_failure_passes_through() -> None:
    async def work() -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        await delivery.to_the_end(work())


def test_several_are_registered_each_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run(tmp_path / "data", "new", "shop", "cart", "--scope", "read")
    data = json.loads(done.stdout)["data"]
    assert [one["credentials"] for one in data] == ["shop.affiant.json", "cart.affiant.json"]
    files = [credentials.read(tmp_path / one["credentials"]) for one in data]
    assert [(one.client_id, one.scope) for one in files] == [("shop", "read"), ("cart", "read")]
    assert files[0].key != files[1].key


def test_no_client_is_registered_if_one_would_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    assert _run(data, "new", "cart").exit_code == 0
    (tmp_path / "cart.affiant.json").unlink()
    failed = _run(data, "new", "shop", "cart")
    assert isinstance(failed.exception, ConfigError)
    assert failed.exception.__notes__[0] == "create client cart: client cart is registered already"
    assert [one["client_id"] for one in json.loads(_run(data, "list").stdout)["data"]] == ["cart"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "words", [("--jwks-uri", "https://a.example/j"), ("--public-key", "a.pem"), ("--name", "A")], ids=lambda w: w[0]
)
def test_several_clients_cannot_share_a_key_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pem").write_text(json.dumps(keys.generate("ES256").public().to_jwk()))
    failed = _run(tmp_path / "data", "new", "a", "b", *words)
    assert (failed.exit_code, "belongs to one client: register a, b one by one" in failed.output) == (2, True)


def test_hand_over_to_the_owner_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has everything that a partner needs and nothing secret; its credentials file is valid."""
    monkeypatch.chdir(tmp_path)
    key = keys.generate("ES256")
    (tmp_path / "partner.jwk").write_text(json.dumps(key.public().to_jwk()))
    words = ("new", "partner", "--public-key", "partner.jwk", "--scope", "read", "--resource", "https://orders.example")
    text = CliRunner().invoke(client, [*words, "--data", str(tmp_path / "data")]).output
    issuer = "http://127.0.0.1:8377"
    for part in (issuer, f"{issuer}/token", "partner", "ES256", key.kid, "read", "https://orders.example"):
        assert part in text
    assert not (tmp_path / "partner.affiant.json").exists()
    file = json.loads(text[text.index("  {\n") :])
    assert (file["issuer"], file["client_id"], file["resource"]) == (issuer, "partner", "https://orders.example")
    _run(tmp_path / "data", "remove", "partner")
    found = json.loads(_run(tmp_path / "data", *words).stdout)["data"]
    assert found["hand_over"] == {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "client_id": "partner",
        "auth_method": "private_key_jwt",
        "audience": issuer,
        "alg": "ES256",
        "kid": key.kid,
        "scope": "read",
        "resources": ["https://orders.example"],
    }


def test_the_longest_name_has_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft has a longer name than the file."""
    monkeypatch.chdir(tmp_path)
    name = "/" + "x" * 255
    done = _run(tmp_path / "data", "new", name)
    assert credentials.read(tmp_path / json.loads(done.stdout)["data"]["credentials"]).client_id == name


def test_next_step_of_a_client_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, has_more in ((("--auth", "tls_client_auth", "--tls-san-dns", "a.example"), True), ((), False)):
        name = f"client{len(words)}"
        told = CliRunner().invoke(client, ["new", name, *words, "--data", str(tmp_path / "data")]).stdout
        assert ('next: add "certificate" and "certificate_key"' in told) is has_more


def test_next_step_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a client_id may have an ampersand; the rest must not run as a shell command."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    assert _run(data, "new", "a&b", "--auth", "client_secret_basic").exit_code == 0
    done = CliRunner().invoke(client, ["secret", "new", "a&b", "--data", str(data)])
    assert "next: affiant client secret complete 'a&b'" in done.stdout


def test_client_of_a_platform_has_no_file_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = _run(tmp_path / "data", "new", "deploy", "--auth", "federated_jwt").stdout
    assert (json.loads(made)["data"]["keys"], "client_secret" in made) == ([], False)
    text = CliRunner().invoke(client, ["new", "other", "--auth", "federated_jwt", "--data", "data"]).output
    assert "affiant trust add PLATFORM --client other\n" in text
    assert list(tmp_path.glob("*.json")) == []
    assert _run(tmp_path / "data", "check", "deploy").exit_code == 0
