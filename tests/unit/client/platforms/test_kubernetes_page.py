"""docs/how-to/kubernetes.md: its code gets a token and answers a probe, and its volumes are where the client looks."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from tests.unit.client.platforms.imitation import Trusting, issue
from tests.unit.resource.listening import API, listening

from affiant.client.platforms import files

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "kubernetes.md").read_text("utf-8")
AS = "https://as.example"


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_pod_has_the_token_where_the_client_reads_it() -> None:
    deployment, with_key, probes = map(yaml.safe_load, _blocks("yaml"))
    pod = deployment["spec"]["template"]["spec"]
    (mount,), (volume,) = pod["containers"][0]["volumeMounts"], pod["volumes"]
    projected = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert (volume["name"], pod["automountServiceAccountToken"]) == (mount["name"], False)
    assert f"{mount['mountPath']}/{projected['path']}" == files.KUBERNETES
    assert projected["audience"] == AS
    (container,), (volume,) = with_key["spec"]["containers"], with_key["spec"]["volumes"]
    assert container["env"][0]["value"].startswith(container["volumeMounts"][0]["mountPath"])
    assert volume["secret"]["defaultMode"] == 0o440
    assert probes["readinessProbe"]["httpGet"]["path"] == "/ready"


def test_code_gets_a_token(server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "affiant"
    token.write_text(issue(server.audience))
    monkeypatch.setattr(files, "KUBERNETES", str(token))
    names: dict[str, Any] = {}
    exec(_blocks("python")[0].replace(AS, server.url), names)
    assert names["service"].token("https://orders.example", "orders.read").value == "token-1"
    assert server.mistakes == []


async def test_probe_waits_for_the_keys() -> None:
    names: dict[str, Any] = {}
    with listening() as issuer:
        exec(_blocks("python")[1].replace(AS, issuer.url).replace("https://orders.example", API), names)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(names["app"]), base_url=API) as http:
            assert (await http.get("/ready")).status_code == 503
            for path in ("/.well-known/oauth-authorization-server", "/jwks"):
                issuer.await_requests(path, 1)
            names["guard"].warm_up()
            assert names["guard"].readiness().status in (200, 503)
