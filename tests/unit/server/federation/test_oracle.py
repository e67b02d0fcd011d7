"""Tokens put together at random, judged by the server and by a few lines of this file that share no code with it."""

from typing import Any

import httpx2
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.platforms import gitlab
from tests.platforms.issuer import Issuer, key, stranger
from tests.platforms.token import ABSENT
from tests.platforms.trap import Good
from tests.unit.server.federation.registering import CARRIERS, form, trusting

from affiant.jose import compact
from affiant.testing.clock import NOW

AUDIENCE = "https://as.example"
LEEWAY, LONGEST = 30, 3600
PINS = {
    "/project_id": "20",
    "/runner_id": 1,
    "/ref_protected": ("true", "yes"),
    "/is_merged": False,
    "/ci~1cd/stage": "deploy/*",
}
GOOD = Good(gitlab.job(), PINS, AUDIENCE, LONGEST, refuses={"/pipeline_source": ("merge_request_event",)})
ISSUER = Issuer.of(gitlab.job())
FORGERS = (stranger(), key("https://other.example", "ES256"))


def mostly(right: Any, *wrong: Any) -> st.SearchStrategy[Any]:
    """The right value, in 14 cases of 15: a token with ten faults tells little."""
    return st.sampled_from([right] * 14 * len(wrong) + list(wrong))


CLAIMS = st.fixed_dictionaries(
    {
        "iss": mostly(gitlab.ISSUER, "https://gitlab.com/", "https://GITLAB.com", "https://other.example", 5, ABSENT),
        "sub": mostly("project_path:acme/app", "x", "", 5, gitlab.ISSUER, "spiffe://example.org/x"),
        "aud": mostly(AUDIENCE, [AUDIENCE], [AUDIENCE, "x"], [], f"{AUDIENCE}/", "x", ABSENT, {AUDIENCE: 1}),
        "jti": mostly("fresh", "", 5, ABSENT, "x" * 1025),
        "iat": mostly(NOW, NOW - 100, NOW + 29, NOW + 31, NOW + 500, "0", True, ABSENT),
        "exp": mostly(NOW + 300, NOW + LONGEST, NOW + 4000, NOW - 29, NOW - 31, 1e300, "1", ABSENT),
        "nbf": mostly(ABSENT, NOW, NOW + 29, NOW + 31, -5, None),
        "project_id": mostly("20", 20, "20\n", "200", "2", "*", ABSENT, ["20"]),
        "runner_id": mostly(1, "1", 1.0, True, 2),
        "ref_protected": mostly("true", "yes", True, "True", "true ", ABSENT),
        "is_merged": mostly(False, 0, "false", None, True),
        "ci/cd": mostly(
            {"stage": "deploy/prod"},
            {"stage": "deploy/"},
            {"stage": "deploy/prod/eu"},
            {"stage": "deploy/prod:eu"},
            {"stage": "deploy"},
            [{"stage": "deploy/prod"}],
            "deploy/prod",
        ),
        "pipeline_source": mostly("push", "merge_request_event", "merge_request_event ", ["merge_request_event"], 5),
    }
)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_in_time(claims: dict[str, Any]) -> bool:
    exp, iat, nbf = (claims.get(name, ABSENT) for name in ("exp", "iat", "nbf"))
    if not _is_number(exp) or not all(time is ABSENT or _is_number(time) for time in (iat, nbf)):
        return False
    begins = [time for time in (iat, nbf) if time is not ABSENT]
    first = begins[0] if begins else NOW
    # A second must be left for what it gives; until then the leeway is for the clock of the platform.
    return exp - NOW >= 1 and all(b <= min(NOW + LEEWAY, exp) for b in begins) and exp - first <= LONGEST + LEEWAY


def _meets(claims: dict[str, Any]) -> bool:
    inner = claims["ci/cd"]
    stage = inner.get("stage") if isinstance(inner, dict) else None
    return (
        claims.get("project_id") == "20"
        and type(claims["runner_id"]) is int
        and claims["runner_id"] == 1
        and claims.get("ref_protected") in ("true", "yes")
        and claims["is_merged"] is False
        and stage == "deploy/prod"
        and claims["pipeline_source"] != "merge_request_event"
    )


def is_right(claims: dict[str, Any]) -> bool:
    """Whether this token must be taken."""
    sub, jti = claims["sub"], claims.get("jti")
    return (
        claims.get("iss") == gitlab.ISSUER
        and isinstance(sub, str)
        and sub not in ("", gitlab.ISSUER)
        and claims.get("aud", ABSENT) in (AUDIENCE, [AUDIENCE])
        and isinstance(jti, str)
        and 0 < len(jti) <= 1024
        and _is_in_time(claims)
        and _meets(claims)
    )


@settings(max_examples=200)
@given(drawn=CLAIMS, by=mostly(None, *FORGERS), carrier=st.sampled_from(CARRIERS))
async def test_server_and_oracle_agree(drawn: dict[str, Any], by: Any, carrier: str) -> None:
    claims = {name: value for name, value in drawn.items() if value is not ABSENT}
    async with trusting(GOOD) as server:
        text = ISSUER.sign_claims(claims, by=by, kid=ISSUER.keys[0].kid)
        reply = await server.post(form(text, carrier))
        answer = reply.json()
        event(answer.get("error_uri", "taken"))
        assert (reply.status_code == httpx2.codes.OK) == (by is None and is_right(claims)), (claims, answer)
        if reply.status_code != httpx2.codes.OK:
            assert reply.status_code in (400, 401)
            assert "access_token" not in answer
            return
        given = compact.parse(answer["access_token"]).claims
        assert given["client_id"] == "gitlab"
        assert given["exp"] <= claims["exp"]
        again = await server.post(form(text, carrier))
        assert again.json()["error_uri"].endswith("/assertion.replayed")
