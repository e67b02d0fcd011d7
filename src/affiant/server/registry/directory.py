"""A cache of clients, APIs, trusts, rules and signing keys, ready for use; it is emptied when the store changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from affiant.errors import SignerError
from affiant.errors.reasons import Reason
from affiant.jose.key_set import KeySet
from affiant.jose.keys import SecretKey
from affiant.jose.signer import AnySigner
from affiant.oauth import names
from affiant.oauth.assertion import Rules
from affiant.server.keys import calendar
from affiant.server.keys.master_key import SETTING, MasterKey
from affiant.server.keys.vault import Opened, Vault, client_secret_purpose
from affiant.server.registry import profiles
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials.keys import ClientKeys
from affiant.server.registry.federation.known import Federation
from affiant.server.registry.profiles import GUIDE, Demands
from affiant.storage.ports import Store
from affiant.storage.records import RESTORED_AT, Api, Client, ClientKey, SigningKey

FRESH_SECONDS = 0.1  # between two reads of the store's version; a change must take effect within 1 s
MAX_CLIENTS = 65_536  # in memory, with one key 4 KB each
MAX_STRANGERS = 4096  # names that are no client, in memory
_Kept = TypeVar("_Kept")
_NEVER = (0.0, 0.0, None)


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client with its keys, ready to verify, and the rules for its assertions."""

    record: Client
    keys: ClientKeys
    macs: tuple[tuple[SecretKey, int | None], ...] = field(repr=False)  # each secret as a MAC key, and its end
    rules: Rules
    demands: Demands = profiles.NONE
    observed: tuple[Reason, ...] = ()  # recorded whenever it authenticates
    # What it gets, by scope and resource asked for, as token/policy.py decided: until the store changes, and the client
    # is read again.
    granted: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def client_id(self) -> str:
        return self.record.client_id

    def proving(self) -> RegisteredClient:
        """Return the client with announced keys as well: an announced key is proved by authenticating with it."""
        return replace(self, keys=self.keys.proving())

    def secrets(self, now: float) -> tuple[SecretKey, ...]:
        """Return the live secrets as MAC keys."""
        return tuple(key for key, end in self.macs if end is None or end > now)


class Directory:
    """Finds clients, APIs and signing keys."""

    def __init__(
        self,
        issuer: str,
        store: Store,
        master_key: MasterKey,
        *,
        demands: Demands = profiles.NONE,
        vault: Vault | None = None,
        clock: Callable[[], float] = time.time,
        fresh_seconds: float | None = None,
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._master_key = master_key
        self._demands = demands
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._version = -1
        self._restored_at: int | None = None
        self._looked_at = float("-inf")
        self._clients: dict[str, RegisteredClient] = {}
        # Attack: without the unknown names, the time of an answer shows whether a client exists. Attack: made-up names
        # push out the clients, if they are kept with them.
        self._strangers: dict[str, None] = {}
        self._apis: dict[str, Api] = {}
        self._default: Api | None = None
        self._federation = Federation(issuer)
        self._vault = vault or Vault(master_key)
        self._signing_keys: list[SigningKey] = []
        self._opened: dict[str, Opened] = {}
        # Of each line: the key that signs, and from when until when.
        self._signers: dict[str, tuple[float, float, AnySigner | None]] = {}

    @property
    def issuer(self) -> str:
        """The issuer identifier of this server."""
        return self._issuer

    @property
    def demands(self) -> Demands:
        return self._demands

    async def refresh(self, *, at_once: bool = False) -> None:
        """Read the store again if it changed; its version is read every 100 ms, or `at_once`."""
        now = time.monotonic()
        if self._is_fresh(now) and not at_once:
            return
        version = await self._store.version()
        if version != self._version:
            # Order: read before the old state is dropped, so that a failure of the store changes nothing.
            apis, default = await self._store.apis.list(), await self._store.apis.default()
            trusts, rules = await self._store.trusts.list(), await self._store.rules.list()
            # Order: before anything that may be sealed under a key of the ring alone.
            self._master_key.follow(await self._store.settings.get(SETTING))
            keys = await self._store.signing_keys.list()
            restored_at = await self._store.settings.get(RESTORED_AT)
            # Each key is opened once: after a burst of rotations many are live.
            self._opened = {key.kid: self._opened.get(key.kid) or self._vault.open(key) for key in keys if key.sealed}
            self._signing_keys = keys
            self._restored_at = int(restored_at) if restored_at is not None else None
            self._apis, self._default = {api.identifier: api for api in apis}, default
            self._federation = Federation(self._issuer, trusts, rules, restored_at=self._restored_at)
            self._clients, self._strangers, self._signers = {}, {}, {}
            self._version = version
        self._looked_at = now

    def _is_fresh(self, now: float) -> bool:
        fresh_seconds = FRESH_SECONDS if self._fresh_seconds is None else self._fresh_seconds
        return now - self._looked_at < fresh_seconds

    async def client(self, client_id: str) -> RegisteredClient | None:
        """Return the client of this name, enabled or not."""
        if not self._is_fresh(time.monotonic()):
            await self.refresh()
        known = self._clients.get(client_id)
        if known is not None or client_id in self._strangers:
            return known
        version = self._version
        record = await self._store.clients.find(client_id)
        known = await self._complete(record) if record is not None else None
        # Attack: a record that was read before a change is kept after it, and a disabled client goes on.
        if self._version != version:
            return known
        if known is None:
            _keep(self._strangers, client_id, None, MAX_STRANGERS)
        else:
            _keep(self._clients, client_id, known, MAX_CLIENTS)
        return known

    def knows(self, client_id: str) -> bool:
        """Whether the client of this name was found lately; the store is not asked."""
        return client_id in self._clients

    def api(self, identifier: str) -> Api | None:
        return self._apis.get(identifier)

    @property
    def apis(self) -> list[Api]:
        return list(self._apis.values())

    @property
    def default_api(self) -> Api | None:
        """The API of a token whose request names none."""
        return self._default

    def resources(self, client: RegisteredClient) -> tuple[str, ...]:
        """Return the identifiers of the APIs that this client may ask for."""
        return client.record.resources or ((self._default.identifier,) if self._default else ())

    async def federation(self) -> Federation:
        """Return the trusts and rules."""
        if not self._is_fresh(time.monotonic()):
            await self.refresh()
        return self._federation

    @property
    def signer(self) -> AnySigner:
        """The key that signs now for all APIs without an algorithm of their own."""
        signer = self.find_signer("")
        if signer is None:
            raise SignerError("there is no signing key")
        return signer

    def find_signer(self, line: str) -> AnySigner | None:
        """Return the key that signs now for the APIs of this algorithm; None before its first key is made."""
        now = self._clock()
        begins, ends, signer = self._signers.get(line, _NEVER)
        if not begins <= now < ends:
            keys = calendar.of_line(self._signing_keys, line)
            record = calendar.find_signer(keys, now)
            signer = self._opened[record.kid].signer if record is not None else None
            self._signers[line] = (*calendar.steady(keys, now), signer)
        return signer

    def published_keys(self) -> KeySet:
        """Return the announced, active and retiring keys."""
        live = calendar.live(self._signing_keys, self._clock())
        return KeySet(tuple(self._opened[key.kid].public for key in live))

    async def _complete(self, record: Client) -> RegisteredClient:
        """Return the client ready for use; one with a blueprint gets the keys of that."""
        if record.blueprint is None:
            return self._prepare(record, record.keys)
        holder = await self._store.clients.find(record.blueprint)
        # Fail closed: a client whose blueprint is missing has no credential.
        if holder is None or not holder.enabled or holder.blueprint is not None:
            return self._prepare(replace(record, enabled=False), ())
        return self._prepare(record, holder.keys)

    def _prepare(self, record: Client, keys: Sequence[ClientKey]) -> RegisteredClient:
        macs: tuple[tuple[SecretKey, int | None], ...] = ()
        if record.token_endpoint_auth_method == names.CLIENT_SECRET_JWT:
            alg = record.token_endpoint_auth_signing_alg or "HS256"
            purpose = client_secret_purpose(record.client_id)
            macs = tuple(
                (
                    SecretKey(self._master_key.unseal(secret.sealed, purpose=purpose), alg, secret.id or None),
                    secret.expires_at,
                )
                for secret in record.secrets
                if secret.sealed
            )
        demands = profiles.find(record.profile, least=self._demands)
        # Without ended keys: after hundreds of rotations, every request would search them.
        live_keys = client_keys.live(keys, self._clock())
        return RegisteredClient(record, ClientKeys(live_keys), macs, self._rules(record, demands), demands)

    def _rules(self, record: Client, demands: Demands) -> Rules:
        return Rules(
            issuer=self._issuer,
            token_endpoint=f"{self._issuer}/token",
            audience=demands.audience or record.audience_policy,
            typ=record.typ_policy,
            lifetime=record.lifetime_policy,
            subject=record.subject_policy,
            # The guide's requests have no jti.
            jti="legacy" if record.profile == GUIDE else record.jti_policy,
            # A breach of a demand is never accepted.
            observe=frozenset(record.observe) - ({"audience"} if demands.audience else set()),
            made_after=self._restored_at,
        )


def _keep(kept: dict[str, _Kept], name: str, value: _Kept, most: int) -> None:
    """Keep this as well, in place of the one that was kept first if there are too many."""
    if len(kept) >= most:
        kept.pop(next(iter(kept)))
    kept[name] = value
