"""The explanation of a request: which steps passed, and what is known of a server that is elsewhere."""

from typing import Any
from urllib.parse import urlencode

import pytest
from tests.unit.server.explain.conftest import Place

from affiant.cli.diagnosis.explain import lines
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.oauth.metadata import Metadata
from affiant.server.explain import captured
from affiant.server.explain.explainer import Explainer, explain_elsewhere
from affiant.server.explain.explanation import Explanation
from affiant.testing import ISSUER, KEY, NOW

SERVER = Metadata(
    ISSUER, f"{ISSUER}/token", f"{ISSUER}/jwks", {"token_endpoint_auth_signing_alg_values_supported": ["ES256"]}
)


def _jwt(**claims: Any) -> str:
    members = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j", **claims}
    return compact.sign({}, {name: value for name, value in members.items() if value != "absent"}, KEY)


def _marks(found: Explanation) -> str:
    return "".join(
        {"passed": "+", "failed": "x", "not reached": "-", "not known": "?"}[line.mark] for line in found.lines
    )


@pytest.fixture
async def explainer(place: Place) -> Explainer:
    await place.server.add_client("basic", names.CLIENT_SECRET_BASIC)
    return place.explainer


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        (_jwt(), "++++++++++++"),
        (_jwt(aud="x"), "+++++++x++++"),
        (_jwt(exp=NOW - 100), "++++++++x+++"),
        (_jwt(jti="absent"), "+++++++++x++"),
        (_jwt(aud="x", exp=NOW + 4000, jti=1), "+++++++xxx++"),
        (_jwt(iss="nobody", sub="nobody"), "++++x-------"),
        (_jwt(sub="x"), "+++x--------"),
        ("eyJ.x", "++x---------"),
        ("grant_type=client_credentials", "+x----------"),
        ("grant_type=nope", "x-----------"),
        ("curl https://as.example/token", "x-----------"),
        (
            f"curl https://as/token -d grant_type=client_credentials -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d client_assertion={_jwt()} -d scope=nope",
            "+++++++++++x",
        ),
        ("curl -u basic:x https://as/token -d grant_type=client_credentials", "++--+-x-----"),
    ],
)
async def test_marks(explainer: Explainer, text: str, marks: str) -> None:
    assert _marks(await explainer.explain(captured.parse(text), now=NOW)) == marks


async def test_a_secret_never_stands_in_an_explanation(explainer: Explainer) -> None:
    text = "curl -u basic:S3cretS3cret https://as/token -d grant_type=client_credentials"
    assert "S3cret" not in repr(await explainer.explain(captured.parse(text), now=NOW))


@pytest.mark.parametrize(
    ("text", "marks", "reason"),
    [
        (_jwt(), "++++?+?+++??", None),
        (_jwt(aud="x"), "++++?+?x++??", Reason.AUDIENCE),
        (_jwt(aud="x", exp=NOW - 100, jti=1), "++++?+?xxx??", Reason.AUDIENCE),
        (_jwt(sub="x"), "+++x?-?---??", Reason.ISS_SUB),
        ("eyJ.x", "++x-?-?---??", Reason.JWT_PARTS),
        ("grant_type=client_credentials", "+x--?-?---??", Reason.NO_CREDENTIALS),
    ],
)
async def test_of_a_server_elsewhere(text: str, marks: str, reason: Reason | None) -> None:
    found = await explain_elsewhere(captured.parse(text), SERVER, now=NOW)
    assert (_marks(found), found.reason) == (marks, reason)
    assert (found.fix is None) == (reason is None)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [({}, None), ({"exp": NOW - 31}, Reason.TOKEN_EXPIRED), ({"iss": "https://x.example"}, Reason.TOKEN_ISSUER)],
)
async def test_an_access_token_of_a_server_elsewhere(claims: dict[str, Any], reason: Reason | None) -> None:
    made = {"iss": ISSUER, "sub": "c1", "client_id": "c1", "aud": "https://api.example", "exp": NOW + 60, **claims}
    found = await explain_elsewhere(captured.parse(compact.sign({"typ": "at+jwt"}, made, KEY)), SERVER, now=NOW)
    assert (found.reason, found.client_id) == (reason, "c1")
    assert "access token" in (found.what or "")
    assert found.fix is not None
    assert "typ" not in found.fix.line
    assert "passed" not in {line.mark for line in found.lines}


async def test_an_algorithm_that_a_server_elsewhere_does_not_take() -> None:
    key = keys.generate("Ed25519")
    text = compact.sign({}, {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "jti": "j"}, key)
    found = await explain_elsewhere(captured.parse(text), SERVER, now=NOW)
    assert (found.reason, _marks(found)) == (Reason.KEY_ALGORITHM, "++++?x?+++??")
    assert found.fix is not None
    assert found.fix.line == 'alg = header["alg"] = "ES256"'


async def test_what_the_log_has(explainer: Explainer) -> None:
    record = {"at": NOW, "trace_id": "t", "endpoint": "token", "client_claimed": "c1", "method": None}
    refused = await explainer.explain_record({**record, "reason": "assertion.audience", "expected": ISSUER, "got": "x"})
    assert (_marks(refused), refused.client_id) == ("+++++++x----", "c1")
    assert (refused.lines[7].expected, refused.lines[7].got) == (ISSUER, "x")
    assert refused.fix is not None
    assert refused.fix.line == f'claims["aud"] = "{ISSUER}"'
    issued = await explainer.explain_record({**record, "client_id": "c1", "observed": "assertion.jti"})
    assert (issued.reason, issued.observed) == (None, ("assertion.jti",))


async def test_a_reason_that_another_version_recorded(explainer: Explainer) -> None:
    record = {"at": NOW, "trace_id": "t", "endpoint": "token", "client_claimed": "c1", "detail": "d"}
    found = await explainer.explain_record({**record, "reason": "assertion.unheard_of", "also": "assertion.jti new"})
    assert (found.accepted, found.code, found.client_id) == (False, "assertion.unheard_of", "c1")
    assert (_marks(found), found.fix, found.detail) == ("????????????", None, "d")
    assert [one.code for one in found.also] == ["assertion.jti"]
    assert found.remedy is not None
    assert "another version" in found.remedy.why
    assert "refused: assertion.unheard_of" in "\n".join(lines(found))
    # One that follows is left out.
    known = await explainer.explain_record({**record, "reason": "assertion.audience", "also": "unheard_of"})
    assert (known.code, known.also) == ("assertion.audience", ())


async def test_what_a_stranger_chose_is_quoted(explainer: Explainer) -> None:
    """The attacker must not choose a line that the operator types."""
    evil = 'x"; import os; os.system("id") #'
    for text in (_jwt(iss=evil, sub=evil), _jwt(iss=evil, sub="$(id)"), _jwt(iss="$(id)", sub="$(id)")):
        found = await explainer.explain(captured.parse(text), now=NOW)
        assert found.fix is not None
        if found.fix.is_command:
            assert "$" not in found.fix.line
            assert ";" not in found.fix.line
        else:
            compile(found.fix.line, "fix", "exec")
            assert 'system("id")' not in found.fix.line


@pytest.mark.parametrize(
    ("parameters", "note", "line"),
    [
        ({"audience": "https://api.example"}, "resource (sent as audience) https://api.example", None),
        ({"resource": "https://api.example"}, "resource https://api.example", None),
        ({"audience": "https://x.example"}, None, 'form["audience"] = "https://api.example"'),
        ({"audience": "https://x.example", "resource": "https://api.example"}, None, 'form.pop("audience", None)'),
    ],
)
async def test_audience_is_told(
    explainer: Explainer, parameters: dict[str, str], note: str | None, line: str | None
) -> None:
    form = {"grant_type": "client_credentials", "client_assertion": _jwt(), **parameters}
    text = urlencode({**form, "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE})
    found = await explainer.explain(captured.parse(text), now=NOW)
    assert (found.lines[-1].note if note else found.fix and found.fix.line) == (note or line)
