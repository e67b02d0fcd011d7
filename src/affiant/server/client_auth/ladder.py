"""Client authentication, steps 2 to 10 of every request: which method shows, which client, which proof.

Order: nothing about a client is disclosed before its signature is verified, and no jti is claimed before every other
step (an attacker must not use one up). Step 11, the claim, belongs to the ledger and falls with the commit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from msgspec import structs

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth.admission import Admission, Foreign
from affiant.server.client_auth.method import Judging, Named, Sent, Shown
from affiant.server.client_auth.methods import METHODS, PLACES
from affiant.server.client_auth.stranger import STRANGER
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.federation.followed import FollowedFeeds
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request.caller import Caller
from affiant.server.request.certificate import Certificates
from affiant.server.request.notes import MAX_SHOWN, Request

_NO_FEDERATION = Federation("")


class Authenticator:
    """Authenticates the clients of every endpoint.

    Without `certificates` no client authenticates by one; without `remote_keys` no jwks_uri is fetched.
    """

    def __init__(
        self,
        directory: Directory,
        master_key: MasterKey,
        *,
        certificates: Certificates | None = None,
        methods: tuple[str, ...] = names.AUTH_METHODS,
        remote_keys: RemoteKeys | None = None,
        trust_keys: TrustKeys | None = None,
        feeds: FollowedFeeds | None = None,
    ) -> None:
        self._directory = directory
        self._master_key = master_key
        self._certificates = certificates or Certificates()
        self._remote_keys = remote_keys or RemoteKeys()
        self._trust_keys = trust_keys or TrustKeys()
        self._feeds = feeds
        without = set(names.BY_TLS) - set(self._certificates.methods)
        self._methods = tuple(
            name
            for name in names.AUTH_METHODS
            if name in methods and name not in without and directory.demands.allows_method(name)
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of this server."""
        return self._methods

    @property
    def trust_keys(self) -> TrustKeys:
        return self._trust_keys

    def metadata(self, endpoint: str) -> dict[str, Any]:
        """Return what the server's metadata say about this endpoint (RFC 8414 section 2)."""
        by_name = {name: algs for method in METHODS for name, algs in method.algorithms.items()}
        known = [alg for name in self._methods for alg in by_name.get(name, ())]
        algs = [alg for alg in known if self._directory.demands.allows_algorithm(alg)]
        standard = [name for name in self._methods if name in names.REGISTRABLE_METHODS]
        members: dict[str, Any] = {f"{endpoint}_auth_methods_supported": standard}
        if self._certificates.methods:
            members["tls_client_certificate_bound_access_tokens"] = True  # RFC 8705 section 3.3
        if algs:  # RFC 8414 section 3.2: a member without elements is left out
            members[f"{endpoint}_auth_signing_alg_values_supported"] = algs
        return members

    def find_certificate(self, request: Request) -> Certificate | None:
        return self._certificates.find(request.scope)

    async def authenticate(
        self, form: Form, request: Request, *, proves_key: bool = False, by_rule: bool = False
    ) -> Caller:
        """Return the client of this request, noted for its record, or raise Rejected.

        `proves_key` admits a key that is only announced, because the request does nothing but prove it; `by_rule`
        admits the token of a trusted issuer for which a rule names the client.
        """
        certificate = self.find_certificate(request)
        shown = find(Sent(form, request.scope["headers"], certificate, request.notes.grant))
        federation = await self._directory.federation() if by_rule else _NO_FEDERATION
        judging = self._judging(request, proves_key=proves_key)
        named = await shown.identify(federation, judging)
        request.notes.claimed = named.client_id[:MAX_SHOWN]
        client = await self._directory.client(named.client_id)
        known, problem = self._check_client(client, named)
        if problem is not None:
            with suppress(Rejected):  # the same work as for a client without a problem
                await named.judge(known, judging)
            raise named.refused(problem)
        caller = await named.judge(known, judging)
        if certificate is not None:
            caller = structs.replace(caller, certificate=certificate)
        request.notes.admit(caller)
        return caller

    async def admit(self, token: Foreign, request: Request) -> Admission:
        """Return the proof that a trust takes this token, which need not authenticate the client of the request."""
        admission = await token.admit(await self._directory.federation(), self._judging(request))
        client = await self._directory.client(admission.rule.client_id)
        if client is not None and not self._accepts(client, names.FEDERATED_JWT):
            # Attack: where no platform's token authenticates a client, it is exchanged for one that does.
            raise self._not_accepted(client, names.FEDERATED_JWT)
        return admission

    def _judging(self, request: Request, *, proves_key: bool = False) -> Judging:
        return Judging(
            request.now,
            request.notes,
            self._master_key,
            self._remote_keys,
            self._trust_keys,
            self._feeds,
            proves_key=proves_key,
        )

    def _check_client(self, client: RegisteredClient | None, shown: Named) -> tuple[RegisteredClient, Rejected | None]:
        """Step 5: return the client, or STRANGER and why the client cannot authenticate by this method.

        What is expected goes into the audit record only.
        """
        if client is None:
            return STRANGER, Rejected(Reason.CLIENT_UNKNOWN)
        if not client.record.enabled:
            return STRANGER, Rejected(Reason.CLIENT_DISABLED)
        registered = client.record.token_endpoint_auth_method
        # A rule finds clients of every method, but not where the server or a profile demands another proof than a rule.
        method = names.FEDERATED_JWT if shown.name == names.FEDERATED_JWT else registered
        if (
            registered in shown.methods
            and self._accepts(client, method)
            and shown.profile in (None, client.record.profile)
        ):
            return client, None
        expected, got = PLACES[registered], PLACES.get(shown.name, shown.name)
        if method == shown.name:
            return STRANGER, self._not_accepted(client, method)
        return STRANGER, Rejected(Reason.CLIENT_METHOD, expected=expected, got=got)

    def _accepts(self, client: RegisteredClient, method: str) -> bool:
        """Whether the server, and the profile of the client, accept the method."""
        return method in self._methods and client.demands.allows_method(method)

    def _not_accepted(self, client: RegisteredClient, method: str) -> Rejected:
        return Rejected(Reason.CLIENT_METHOD, expected=" or ".join(client.demands.methods or self._methods), got=method)


def find(sent: Sent) -> Shown:
    """Return the one way in which a request authenticates (RFC 6749 section 2.3, RFC 7521 section 4.2)."""
    marks: list[str] = []
    for method in METHODS:
        marks += method.marks(sent)
    if len(marks) > 1:
        # RFC 7521 section 4.2.1: with an assertion it is invalid_client; RFC 6749 section 5.2: else invalid_request.
        is_assertion = sent.form.get("client_assertion") is not None
        reason = Reason.ASSERTION_AND_OTHER if is_assertion else Reason.MULTIPLE_METHODS
        raise Rejected(reason, got=" and ".join(marks))
    for method in METHODS:
        shown = method.shows(sent) if not (method.is_last and marks) else None
        if shown is not None:
            return shown
    raise Rejected(Reason.NO_CREDENTIALS)
