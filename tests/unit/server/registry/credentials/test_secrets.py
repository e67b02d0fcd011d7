"""Secrets: new ones, and those that a client brings from another server."""

import pytest
from tests.admin import MASTER, NOW, asking, open_api

from affiant.errors import ConfigError
from affiant.server.registry.credentials import secrets
from affiant.storage.memory import MemoryStore

GOOD = "kX2vQ9pLr7TnB4sYw8ZdJ3mHc6Ga1eFu"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "9f1c2b7e-4d5a-4c3b-8e6f-0a1b2c3d4e5f",  # a UUID, as Keycloak made them
        "u.gvqpnCnqFHOxYkjkg2PMsNWt",  # Hydra
        "0123456789abcdef0123456789abcdeg",
        GOOD * 2 + "x",
    ],
)
def test_secret_that_is_brought_is_taken(text: str) -> None:
    made, stored = secrets.make(
        "billing",
        auth_method="client_secret_basic",
        alg=None,
        master_key=MASTER,
        now=NOW,
        wanted=secrets.Wanted(None, text),
    )
    assert (made, stored.digest, stored.sealed) == (text, MASTER.digest(text), None)
    assert text not in repr(secrets.Wanted(None, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "characters"),
        (GOOD[:21], "22 to 512 characters"),
        (GOOD * 17, "22 to 512 characters"),
        ("**********", "22 to 512"),
        ("a" * 32, "repeat"),
        ("abcdefghij" * 4, "repeat"),
        ("billing-0f9e8d7c6b5a4321", "can be guessed"),
        ("My-Very-Long-Password-2024!", "can be guessed"),
        (f"{GOOD} ", "visible ASCII"),
        (f"{GOOD}\n", "visible ASCII"),
        (f"{GOOD}é", "visible ASCII"),
        ("$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "hash"),
    ],
)
def test_secret_that_can_be_guessed_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        secrets.check(text, client_id="billing")
    assert not text or text not in str(refused.value)


@pytest.mark.rfc(7518, "3.2")
def test_key_of_hmac_is_as_long_as_the_hash() -> None:
    with pytest.raises(ConfigError, match="64 to 512 characters"):
        secrets.make(
            "a",
            auth_method="client_secret_jwt",
            alg="HS512",
            master_key=MASTER,
            now=NOW,
            wanted=secrets.Wanted(None, GOOD),
        )


async def test_admin_api_takes_a_secret_and_never_returns_it() -> None:
    store = MemoryStore()
    await open_api(store)
    wanted = {"client_id": "billing", "token_endpoint_auth_method": "client_secret_basic", "client_secret": GOOD}
    async with asking(store) as admin:
        made = await admin.post("/clients", json=wanted)
        weak = await admin.post("/clients", json=wanted | {"client_id": "b", "client_secret": "weak"})
        by_key = await admin.post(
            "/clients", json=wanted | {"client_id": "c", "token_endpoint_auth_method": "federated_jwt"}
        )
        long = await admin.post("/clients", json=wanted | {"client_id": "d", "client_secret": GOOD * 17})
    assert (made.status_code, made.json()["client_secret"], GOOD in made.text) == (201, None, False)
    assert [answer.status_code for answer in (weak, by_key, long)] == [422, 422, 422]
    assert not [answer for answer in (weak, by_key, long) if GOOD in answer.text]
