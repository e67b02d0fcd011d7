"""docs/how-to/platforms.md as it is there: its code, its YAML and its names, at the imitations."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import process
from tests.unit.client.platforms.conftest import variables
from tests.unit.client.platforms.imitation import Platform, Trusting, issue

from affiant import Service
from affiant.client.platforms import files
from affiant.client.platforms.platform import PLATFORMS

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "platforms.md").read_text("utf-8")
AS = "https://as.example"


def _block(kind: str, has: str) -> str:
    (found,) = (text for text in re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if has in text)
    return str(found)


def test_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 64
    assert all(
        len(text.splitlines()) <= 6 for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    )


def test_page_names_every_platform() -> None:
    assert [name for name in PLATFORMS if f"`{name}`" not in PAGE and f"`{name}:" not in PAGE] == []


@pytest.fixture
def job(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = variables("github", platform, tmp_path)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_code_gets_a_token(job: dict[str, str], server: Trusting) -> None:
    names: dict[str, Any] = {}
    exec(_block("python", "from_platform").replace(AS, server.url), names)
    assert names["token"].value == "token-1"
    assert server.mistakes == []


def test_github_step_gets_a_token(job: dict[str, str], server: Trusting, tmp_path: Path) -> None:
    found = yaml.safe_load(_block("yaml", "permissions"))
    assert found["permissions"]["id-token"] == "write"
    (words,) = re.findall(r"\$\(affiant (.*?)\)", found["steps"][0]["run"])
    done = process.run(tmp_path, *words.replace(AS, server.url).split(), **job)
    assert (done.returncode, done.stdout) == (0, "Authorization: Bearer token-1\n")
    assert done.stderr == "::add-mask::token-1\n"


def test_gitlab_variable_is_found(server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    ((name, member),) = yaml.safe_load(_block("yaml", "id_tokens"))["id_tokens"].items()
    server.audience = member["aud"]
    monkeypatch.setenv(name, issue(member["aud"]))
    service = Service.from_platform("gitlab", server.url, audience=AS)
    assert service.token().value == "token-1"


def test_kubernetes_volume_is_the_usual_path() -> None:
    found = yaml.safe_load(_block("yaml", "serviceAccountToken"))
    (mount,) = found["containers"][0]["volumeMounts"]
    (volume,) = found["volumes"]
    projected = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert volume["name"] == mount["name"]
    assert f"{mount['mountPath']}/{projected['path']}" == files.KUBERNETES
    assert projected["audience"] == AS
