"""A request for each reason of platforms' tokens and of the token exchange: one out of several that tests have."""

import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tests.attacks.bench import API, BOUND, OTHER, Bench, dpop, post, proof
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names, revocations
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ABSENT, ISSUER, NOW, messages

CI, DOMAIN = "https://ci.example", "spiffe://example.org"
CI_KEY, UNKNOWN_KEY = keys.generate("ES256"), keys.generate("ES256")
JWKS = json.dumps({"keys": [CI_KEY.public().to_jwk()]})
RULE = Rule("deploy", "ci", "c1", (ClaimCondition("repository_id", ("42",)),))
EXCHANGES = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)
_numbers = itertools.count()


async def trust(bench: Bench, rule: Rule = RULE, /, **changes: Any) -> None:
    await bench.store.trusts.add(replace(Trust("ci", CI, jwks=JWKS), **changes))
    await bench.store.rules.add(rule)


def job(key: keys.PrivateKey = CI_KEY, **changes: Any) -> str:
    """Return a token of the platform, never used before."""
    claims = {"iss": CI, "sub": "repo:acme/app", "aud": ISSUER, "iat": NOW, "exp": NOW + 300, "repository_id": "42"}
    return compact.sign({}, messages.changed({**claims, "jti": f"job-{next(_numbers)}"}, changes), key)


def send(text: str) -> Request:
    return post(messages.form(text))


def _refused(changes: dict[str, Any], **claims: Any) -> Callable[[Bench], Awaitable[Request]]:
    """Return the sender of a token with these claims, to a trust with these changes."""

    async def prepare(bench: Bench) -> Request:
        await trust(bench, **changes)
        return send(job(**claims))

    return prepare


async def _key_unknown(bench: Bench) -> Request:
    await trust(bench)
    return send(job(UNKNOWN_KEY))


async def _two_rules(bench: Bench) -> Request:
    await trust(bench)
    await bench.store.rules.add(replace(RULE, name="again"))
    return send(job())


async def _long_copies(bench: Bench) -> Request:
    await trust(bench, replace(RULE, copied_claims=("note",)))
    return send(job(note="n" * 2000))


async def _nothing_left(bench: Bench) -> Request:
    await trust(bench, replace(RULE, scope=("other",)))
    return send(job())


async def _revoked_there(bench: Bench) -> Request:
    """All tokens of another affiant server, as its feed says it."""
    await trust(bench, preset="affiant")
    feed = revocations.Feed(NOW, NOW + 900, before={revocations.digest("all", ""): NOW})
    (entry,) = revocations.foreign_entries(feed, CI)
    record = AuditRecord(at=NOW, trace_id="ended", endpoint="feed", outcome="revoked")
    ended = Revocation(revocations.FOREIGN, entry[0], NOW, NOW + 600)
    await bench.store.ledger.claim(Entry(record, revocations=(ended,)))
    return send(job())


async def _not_a_spiffe_id(bench: Bench) -> Request:
    await bench.store.trusts.add(Trust("mesh", DOMAIN, jwks=JWKS, replay="reused"))
    return send(job(iss=ABSENT, sub=f"{DOMAIN}/ns/../sa"))


async def subject(bench: Bench, client_id: str = "c1", **claims: Any) -> str:
    """Return an access token of this client under the server's own key; clients may exchange from here on."""
    for name in ("c1", "c2", "bound"):
        await bench.change_client(name, grant_types=EXCHANGES, introspects=(API,), kind="service")
    given = {"sub": client_id, "client_id": client_id, "aud": API, "scope": "r", "jti": f"t-{next(_numbers)}"}
    return await bench.access_token(**{**given, **claims})


def exchange(bench: Bench, token: str, by: str = "c2", **more: str) -> Request:
    kind = more.pop("subject_token_type", names.ACCESS_TOKEN_TOKEN_TYPE)
    parameters = {"grant_type": names.TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": kind, **more}
    return bench.signed(by, **parameters)


def _exchanged(more: dict[str, str], **claims: Any) -> Callable[[Bench], Awaitable[Request]]:
    async def prepare(bench: Bench) -> Request:
        return exchange(bench, await subject(bench, **claims), **more)

    return prepare


async def _subject_replayed(bench: Bench) -> Request:
    await trust(bench)
    await subject(bench)
    text = job()
    by_jwt = {"by": "c1", "subject_token_type": names.JWT_TOKEN_TYPE}
    await bench.good(exchange(bench, text, **by_jwt))
    return exchange(bench, text, **by_jwt)


async def _subject_revoked(bench: Bench) -> Request:
    token = await subject(bench, jti="ended")
    record = AuditRecord(at=NOW, trace_id="ended", endpoint="revoke", outcome="revoked")
    await bench.store.ledger.claim(Entry(record, revocations=(Revocation("jti", "ended", NOW, NOW + 600),)))
    return exchange(bench, token)


async def _not_audience(bench: Bench) -> Request:
    token = await subject(bench)
    await bench.change_client("c2", introspects=())
    return exchange(bench, token)


async def _not_delegable(bench: Bench) -> Request:
    token = await subject(bench)
    await bench.change_client("c1", delegates_to=())
    return exchange(bench, token)


def _act(depth: int) -> dict[str, Any]:
    """Return a chain of so many actors, none of which is c1 or c2."""
    inner = {"act": _act(depth - 1)} if depth > 1 else {}
    return {"iss": ISSUER, "sub": f"actor-{depth}", **inner}


async def _unbound(bench: Bench) -> Request:
    return exchange(bench, await subject(bench, cnf={"jkt": BOUND.public().thumbprint}))


async def _transaction(bench: Bench) -> Request:
    """A client that sends its secret asks for a transaction token."""
    await bench.change_client("client_secret_post", grant_types=EXCHANGES)
    secret = bench.secrets["client_secret_post"]
    form = {"grant_type": names.TOKEN_EXCHANGE, "requested_token_type": names.TXN_TOKEN_TYPE, "subject_token": "x"}
    form |= {"subject_token_type": names.ACCESS_TOKEN_TOKEN_TYPE, "audience": API, "scope": "r"}
    return post({**form, "client_id": "client_secret_post", "client_secret": secret})


async def _bound(bench: Bench) -> Request:
    """A control: with a proof the same exchange is granted, so that only the lack of one is refused."""
    token = await subject(bench, cnf={"jkt": BOUND.public().thumbprint})
    made = exchange(bench, token)
    return replace(made, headers=(*made.headers, dpop(proof(OTHER))))


BY_FEDERATION: dict[Reason, Callable[[Bench], Awaitable[Request]]] = {
    Reason.TRUST_SPIFFE_ID: _not_a_spiffe_id,
    Reason.TRUST_DISABLED: _refused({"enabled": False}),
    Reason.TRUST_KEYS: _refused({"jwks": None}),
    Reason.TRUST_KEY_UNKNOWN: _key_unknown,
    Reason.TRUST_AUDIENCE: _refused({}, aud="https://other.example"),
    Reason.TRUST_LIFETIME: _refused({}, exp=NOW + 90_000),
    # No URL can be derived from this issuer, so nothing is fetched.
    Reason.TRUST_FEED: _refused({"preset": "affiant", "issuer": "urn:ci"}, iss="urn:ci"),
    Reason.TRUST_REVOKED: _revoked_there,
    Reason.TRUST_REFUSES: _refused({"refuses": (ClaimCondition("ref", ("x",)),)}, ref="x"),
    Reason.TRUST_AMBIGUOUS: _two_rules,
    Reason.RULE_NONE: _refused({}, repository_id="43"),
    Reason.RULE_COPIES: _long_copies,
    Reason.NOTHING_LEFT: _nothing_left,
    Reason.EXCHANGE_PARAMETER: _exchanged({"task": "two words"}),
    Reason.EXCHANGE_TYPE: _exchanged({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}),
    Reason.EXCHANGE_SUBJECT: _exchanged({}, iss="https://other.example"),
    Reason.EXCHANGE_REPLAYED: _subject_replayed,
    Reason.EXCHANGE_REVOKED: _subject_revoked,
    Reason.EXCHANGE_AUDIENCE: _not_audience,
    Reason.EXCHANGE_NOT_DELEGABLE: _not_delegable,
    Reason.EXCHANGE_MAY_ACT: _exchanged({}, may_act={"sub": "c1"}),
    Reason.EXCHANGE_ACT: _exchanged({}, act={"sub": "no issuer"}),
    Reason.EXCHANGE_CYCLE: _exchanged({}, act={"iss": ISSUER, "sub": "c2"}),
    Reason.EXCHANGE_DEPTH: _exchanged({}, act=_act(4)),
    Reason.EXCHANGE_ACTOR: _exchanged(
        {"actor_token": "x", "actor_token_type": names.ACCESS_TOKEN_TOKEN_TYPE},
    ),
    Reason.EXCHANGE_UNBOUND: _unbound,
    Reason.EXCHANGE_TRANSACTION: _transaction,
}
CONTROLS = {"exchanged": _exchanged({}), "bound": _bound}
