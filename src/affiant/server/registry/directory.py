"""What the server knows of clients, APIs and its own keys, ready for use and never older than a moment."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PrivateKey, SecretKey, parse_private_jwk
from affiant.oauth import names
from affiant.oauth.assertion import Rules
from affiant.server.keys import calendar
from affiant.server.registry.client_keys import ClientKeys
from affiant.storage.records import RESTORED_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    from affiant.jose.keys import PublicKey
    from affiant.server.keys.master_key import MasterKey
    from affiant.storage.ports import Store
    from affiant.storage.records import Api, Client, SigningKey

GUIDE = "guide"  # the profile of clients that send what a common guide says
FRESH_SECONDS = 0.1  # how long a look at the store's version holds; a change must be seen within 1 s
MAX_CLIENTS = 10_000  # kept ready in memory


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client with its keys ready to verify, and the rules that its assertions are held to.

    Attributes:
        macs: its secrets as MAC keys, each with its end in seconds since the epoch.
    """

    record: Client
    keys: ClientKeys
    macs: tuple[tuple[SecretKey, int | None], ...] = field(repr=False)
    rules: Rules

    @property
    def client_id(self) -> str:
        """Its name."""
        return self.record.client_id

    def secrets(self, now: float) -> tuple[SecretKey, ...]:
        """The secrets that are live now, as MAC keys."""
        return tuple(key for key, end in self.macs if end is None or end > now)


def secret_purpose(client_id: str) -> str:
    """What a client's secret is sealed for."""
    return f"client-secret/{client_id}"


def signing_key_purpose(kid: str) -> str:
    """What a signing key is sealed for."""
    return f"signing-key/{kid}"


class Directory:
    """Finds clients, APIs and signing keys, and forgets what it knew when the store changed."""

    def __init__(
        self, issuer: str, store: Store, master_key: MasterKey, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._master_key = master_key
        self._clock = clock
        self._version = -1
        self._restored_at: int | None = None
        self._looked_at = float("-inf")
        # None for a name that nobody has: it must not take longer to be told so than to be found.
        self._clients: dict[str, RegisteredClient | None] = {}
        self._apis: dict[str, Api] = {}
        self._default: Api | None = None
        self._signing_keys: list[SigningKey] = []
        self._opened: dict[str, tuple[PrivateKey, PublicKey]] = {}

    async def refresh(self) -> None:
        """Look whether the store changed, at most every 100 ms.

        Raises:
            StoreError: the store does not answer.
        """
        now = time.monotonic()
        if now - self._looked_at < FRESH_SECONDS:
            return
        version = await self._store.version()
        if version != self._version:
            # Read before the old is dropped: when the store fails here, the next request tries again.
            apis, default = await self._store.apis.list(), await self._store.apis.default()
            keys = await self._store.signing_keys.list()
            restored_at = await self._store.settings.get(RESTORED_AT)
            # Opened once: after a burst of rotations many are live, and each change of the store would open them all.
            self._opened = {key.kid: self._opened.get(key.kid) or self._open(key) for key in keys if key.sealed}
            self._signing_keys = [key for key in keys if key.sealed]
            self._restored_at = int(restored_at) if restored_at is not None else None
            self._apis, self._default = {api.identifier: api for api in apis}, default
            self._clients = {}
            self._version = version
        self._looked_at = now

    async def client(self, client_id: str) -> RegisteredClient | None:
        """The client of this name, enabled or not."""
        await self.refresh()
        if client_id in self._clients:
            return self._clients[client_id]
        record = await self._store.clients.find(client_id)
        known = self._prepare(record) if record is not None else None
        if len(self._clients) >= MAX_CLIENTS:
            self._clients.pop(next(iter(self._clients)))
        self._clients[client_id] = known
        return known

    def api(self, identifier: str) -> Api | None:
        """The API of this identifier."""
        return self._apis.get(identifier)

    @property
    def default_api(self) -> Api | None:
        """The API that a token is for when none is asked for."""
        return self._default

    @property
    def signer(self) -> PrivateKey:
        """The key that signs access tokens now.

        Raises:
            ConfigError: there is none.
        """
        record = calendar.find_signer(self._signing_keys, self._clock())
        if record is None:
            raise ConfigError("there is no signing key")
        return self._opened[record.kid][0]

    def published_keys(self) -> KeySet:
        """Every key under which a token is or will be valid: announced, active and retiring, never removed."""
        live = calendar.live(self._signing_keys, self._clock())
        return KeySet(tuple(self._opened[key.kid][1] for key in live))

    def _open(self, key: SigningKey) -> tuple[PrivateKey, PublicKey]:
        plain = self._master_key.unseal(key.sealed, purpose=signing_key_purpose(key.kid))
        opened = parse_private_jwk(json.loads(plain))
        return opened, opened.public()

    def _prepare(self, record: Client) -> RegisteredClient:
        macs: tuple[tuple[SecretKey, int | None], ...] = ()
        if record.token_endpoint_auth_method == names.CLIENT_SECRET_JWT:
            alg = record.token_endpoint_auth_signing_alg or "HS256"
            purpose = secret_purpose(record.client_id)
            macs = tuple(
                (
                    SecretKey(self._master_key.unseal(secret.sealed, purpose=purpose), alg, secret.id or None),
                    secret.expires_at,
                )
                for secret in record.secrets
                if secret.sealed
            )
        return RegisteredClient(record, ClientKeys(record.keys), macs, self._rules(record))

    def _rules(self, record: Client) -> Rules:
        return Rules(
            issuer=self._issuer,
            token_endpoint=f"{self._issuer}/token",
            audience=record.audience_policy,
            typ=record.typ_policy,
            lifetime=record.lifetime_policy,
            # The guide's requests have no jti.
            jti="legacy" if record.profile == GUIDE else record.jti_policy,
            observe=frozenset(record.observe),
            made_after=self._restored_at,
        )
