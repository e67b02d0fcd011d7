"""The mistake zoo of federation: the first line that explain prints, applied as it stands, lets the token in."""

import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from tests.zoo.house import House
from tests.zoo.job import Job, issuer_of
from tests.zoo.platforms import CLIENT, ISSUERS, MISTAKES, Mistake

from affiant.cli.diagnosis.explain import lines
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.explain.explanation import Explanation
from affiant.server.keys import key_source
from affiant.server.registry.federation.fields import RULE, TRUST
from affiant.storage.records import Rule, Trust
from affiant.testing import ISSUER

API, OTHER_API = "https://orders.example", "https://other.example"
SCOPE = ("orders.read", "orders.write")


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setenv(key_source.ENVIRONMENT, bytes(range(32)).hex())  # the server's, for commands
    async with House.on_folder(tmp_path, ISSUER) as made:
        await made.add_api(API, scope=(*SCOPE, "orders.admin"), is_default=True)
        await made.add_api(OTHER_API, name="other", scope=("invoices.read",))
        await made.add_client(CLIENT, names.FEDERATED_JWT, scope=SCOPE)
        yield made


async def _set_up(house: House, mistake: Mistake) -> Job:
    """Register the trust and the rule, as wrong as the mistake says."""
    job, good = Job(mistake, house.clock, issuer_of(mistake)), mistake.good
    if not mistake.no_trust:
        members = {
            "jwks": job.platform.jwks,
            "audiences": [good.audience],
            "max_lifetime": good.longest,
            "replay": good.replay,
            "refuses": {claim: list(values) for claim, values in good.refuses.items()},
            "preset": good.platform,
            **mistake.trust,
        }
        issuer = str(members.pop("issuer", good.token.issuer))
        await house.store.trusts.add(TRUST.check(TRUST.put(Trust(good.platform, issuer), members)))
        wanted = mistake.conditions if mistake.conditions is not None else good.pins
        conditions = {claim: list(of) if isinstance(of, tuple) else [of] for claim, of in wanted.items()}
        made = RULE.put(Rule(CLIENT, good.platform, CLIENT), {"conditions": conditions, **mistake.rule})
        await house.store.rules.add(RULE.check(made))
    for line in mistake.commands:
        await house.type(line, {})
    if mistake.rotated:
        job.platform.rotate(job.token.alg, keep=False)
        job.change("affiant token --from kubernetes")
    return job


async def _refused(house: House, job: Job) -> tuple[Explanation, Explanation]:
    """The verdicts on a request before and after it was refused."""
    for _ in range(job.mistake.times - 1):
        assert await house.send(job.build()) == httpx2.codes.OK
    request = job.build()
    before = await house.explain(request.as_http())
    answer = await house.answer(request)
    assert answer.status_code in (400, 401), answer.text
    return before, await house.trace(answer.json()["trace_id"], looks=False)


async def _apply(house: House, job: Job, line: str) -> None:
    """Do what the line says, with the files that it names."""
    (house.folder / "jwks.json").write_text(json.dumps(job.platform.jwks))
    (house.folder / "job.jwt").write_text(job.text)
    files = {"jwks.json": house.folder / "jwks.json", "TOKEN_FILE": house.folder / "job.jwt"}
    if line.startswith("timedatectl"):
        house.clock.now = job.made
    elif line.startswith("affiant token"):
        job.change(line)
    elif "--from-refused" in line:
        await house.type(f"{line} --client {CLIENT} --yes", {})
    elif "affiant " in line:
        await house.type(line[line.index("affiant ") :], files)
    else:
        job.change(line)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
async def test_first_line_mends_it(house: House, mistake: Mistake) -> None:
    job = await _set_up(house, mistake)
    before, after = await _refused(house, job)
    assert before.reason is after.reason is mistake.reason, (before, after)
    assert before.fix is not None
    assert after.fix is not None
    first = lines(after)[0].removeprefix("fix  ")
    assert (first, before.fix.line.replace("TOKEN_FILE", "")) == (
        after.fix.line,
        before.fix.line.replace("TOKEN_FILE", ""),
    )
    assert lines(before)[0] == f"fix  {before.fix.line}"
    await _apply(house, job, first)
    if job.keeps:
        return
    if mistake.times == 1 and not mistake.late:
        job.run_again()  # a refused request uses the token up
    mended = job.build()
    again = await house.explain(mended.as_curl())
    assert again.accepted, (first, again.reason, again.fix)
    assert await house.send(mended) == httpx2.codes.OK


@pytest.mark.parametrize("mistake", ISSUERS, ids=lambda mistake: mistake.name)
async def test_trust_from_a_refusal(house: House, mistake: Mistake) -> None:
    """No claim is typed: the record has them, and what is registered lets the next token of the job in."""
    job = await _set_up(house, mistake)
    before, after = await _refused(house, job)
    assert before.reason is after.reason is mistake.reason
    assert before.fix is not None
    assert before.fix.line == f"affiant trust add {mistake.good.platform} --from-token TOKEN_FILE"
    first = lines(after)[0].removeprefix("fix  ")
    assert first.startswith("affiant trust add --from-refused ")
    keys = house.folder / "jwks.json"
    keys.write_text(json.dumps(job.platform.jwks))
    audience = ["--audience", mistake.good.audience] if mistake.good.audience != ISSUER else []
    await house.type(shlex.join([*first.split(), "--jwks", str(keys), "--client", CLIENT, "--yes", *audience]), {})
    job.run_again()
    assert await house.send(job.build()) == httpx2.codes.OK


async def test_no_stranger_chooses_a_client_that_is_there(house: House) -> None:
    """Attack: a token that no trust verified comes with the name of a client that has rights already."""
    mistake = ISSUERS[0]
    job = await _set_up(house, mistake)
    await house.add_client("payments", scope=SCOPE)
    job.form["client_id"] = "payments"
    answer = await house.answer(job.build())
    keys = house.folder / "jwks.json"
    keys.write_text(json.dumps(job.platform.jwks))
    line = f"affiant trust add --from-refused {answer.json()['trace_id']} --jwks jwks.json --yes"
    with pytest.raises(ConfigError, match="--client payments"):
        await house.type(line, {"jwks.json": keys})
    assert await house.store.rules.list() == []
    await house.type(f"{line} --client payments", {"jwks.json": keys})
