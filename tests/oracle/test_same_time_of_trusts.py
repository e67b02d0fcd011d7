"""The clock does not say which trusts are disabled, and which keys they have: 12,000 tokens that prove nothing."""

import json
import random
import time
from statistics import median

import pytest
from tests.oracle.test_same_time import SEPARATION, TOLERANCE, _separation

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ISSUER, Server
from affiant.testing.clock import NOW

ROUNDS, WARM_UP, SEED = 3000, 300, 316
ON, OFF = "https://known.example", "https://ended.example"  # as long as each other


def _token(issuer: str, key: PrivateKey, number: int) -> str:
    claims = {"iss": issuer, "sub": "job", "aud": ISSUER, "iat": NOW, "exp": NOW + 300, "jti": f"{number:06}"}
    return compact.sign({}, claims, key)


@pytest.mark.soak
@pytest.mark.attack(306, 316)
@pytest.mark.parametrize("alg", ["ES256", "RS256"])
async def test_disabled_trust_and_unknown_key_take_as_long_as_forgery(alg: str) -> None:
    """A refusal before the signature takes as long as one after it."""
    own = keys.generate(alg)
    forger = keys.parse_private_jwk({**keys.generate(alg).to_jwk(), "kid": own.kid})
    stranger = keys.parse_private_jwk({**forger.to_jwk(), "kid": own.kid[::-1]})
    sent = {"forged": (ON, forger), "disabled": (OFF, forger), "no such key": (ON, stranger)}
    times: dict[str, list[float]] = {kind: [] for kind in sent}
    async with Server.in_process() as server:
        await server.add_api("https://orders.example", is_default=True)
        await server.add_client("job")
        jwks = json.dumps({"keys": [own.public().to_jwk()]})
        for name, issuer in (("on", ON), ("off", OFF)):
            await server.store.trusts.add(Trust(name, issuer, jwks=jwks, enabled=name == "on"))
            await server.store.rules.add(Rule(name, name, "job", (ClaimCondition("sub", ("job",)),)))
        random_, answers = random.Random(SEED), set()
        for number in range(WARM_UP + ROUNDS):
            for kind in random_.sample(list(sent), len(sent)):
                issuer, key = sent[kind]
                form = {"grant_type": names.JWT_BEARER, "assertion": _token(issuer, key, number)}
                begun = time.perf_counter()
                reply = await server.post(form)
                times[kind].append(time.perf_counter() - begun)
                answers.add((reply.status_code, len(reply.content)))
    assert len(answers) == 1, answers
    times = {kind: taken[WARM_UP:] for kind, taken in times.items()}
    for kind in ("disabled", "no such key"):
        forged, other = median(times["forged"]), median(times[kind])
        separation = _separation(times["forged"], times[kind])
        figures = f"{alg}: forged {forged * 1e6:.0f} µs, {kind} {other * 1e6:.0f} µs, separation {separation:.3f}"
        print(figures)
        assert abs(other - forged) < TOLERANCE * forged, figures
        assert separation < SEPARATION, figures
