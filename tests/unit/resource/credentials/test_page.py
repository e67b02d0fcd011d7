"""docs/how-to/from-api-keys.md, step by step: its table, its API, the switch of a client and back, and the end."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.resource.listening import API, listening

from affiant.resource import digest_of
from affiant.telemetry.table import METRICS

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "from-api-keys.md").read_text("utf-8")
KEY, OTHER = "k3y-of-billing-0123456789abcdef", "k3y-of-reports"
SUNSET = "Mon, 01 Mar 2027 00:00:00 GMT"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


async def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table, refusal = blocks("json")
    command, printed = blocks("console")[0].removeprefix("$ ").splitlines()
    assert subprocess.check_output(["bash", "-c", command], text=True).strip() == printed
    digests = {"DIGEST-OF-BILLING": printed.split()[0], "DIGEST-OF-REPORTS": digest_of(OTHER)}
    for name, digest in digests.items():
        table = table.replace(name, digest)
    (tmp_path / "keys.json").write_text(table)
    (tmp_path / "switched.txt").write_text("")
    served, _, ended = blocks("python")
    with listening() as issuer:
        names: dict[str, Any] = {}
        written = served.replace("https://as.example", issuer.url).replace(
            'audience="https://orders.example"', f'audience="{API}"'
        )
        exec(written.replace("api_keys=api_keys", "api_keys=api_keys, clock=lambda: 1_800_000_000"), names)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(names["app"]), base_url=API) as http:
            key = {"X-Api-Key": KEY}
            token = {"Authorization": issuer.token(client_id="billing", sub="billing", scope="orders.read").decode()}
            for headers in (key, token, {**key, **token}):
                assert (await http.get("/orders", headers=headers)).json() == {"for": "billing"}
            names["switched"].add("billing")
            assert (await http.get("/orders", headers=key)).json() == json.loads(refusal)
            assert (await http.get("/orders", headers=token)).status_code == 200
            assert (await http.get("/orders", headers={"X-Api-Key": OTHER})).json() == {"for": "reports"}
            names["switched"].clear()
            assert (await http.get("/orders", headers=key)).status_code == 200
            admin = {"Authorization": issuer.token(scope="orders.admin").decode()}
            usage = (await http.get("/usage", headers=admin)).json()
    assert usage == [
        ["billing", "both", 1],
        ["billing", "key", 2],
        ["billing", "refused", 1],
        ["billing", "token", 2],
        ["reports", "key", 1],
    ]
    exec(ended, names)
    assert SUNSET in PAGE
    caller = names["api_keys"].admit([KEY.encode()], [], issuer="x", now=1_800_000_000)
    assert ("Sunset", SUNSET) in caller.notices
    assert datetime(2027, 3, 1, tzinfo=UTC).timestamp() > 1_800_000_000


def test_metric_of_the_page_is_one() -> None:
    (query,) = blocks("promql")
    assert set(re.findall(r"affiant_\w+", query)) <= METRICS.keys()
