"""The platforms and the server of imitation.py, and an environment without any platform."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.platforms.imitation import (
    IDENTITY_HEADER,
    REQUEST_TOKEN,
    Platform,
    Trusting,
    issue,
    workload_api,
)

PREFIXES = ("ACTIONS_", "AWS_", "AZURE_", "GCE_", "GITHUB_", "GITLAB_", "IDENTITY_", "SPIFFE_", "AFFIANT_")


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def platform() -> Iterator[Platform]:
    found = Platform()
    yield found
    found.close()


@pytest.fixture
def server() -> Iterator[Trusting]:
    found = Trusting()
    yield found
    found.close()


def variables(name: str, platform: Platform, folder: Path) -> dict[str, str]:
    """What each platform sets for its workloads."""
    if name in ("circleci", "buildkite"):
        return {"PATH": f"{folder}:{os.environ['PATH']}"}
    aws = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "canary-aws", "AWS_REGION": "eu-west-1"}
    return {
        "github": {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{platform.url}/idtoken?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
        },
        "google": {"GCE_METADATA_HOST": platform.url.removeprefix("http://")},
        "azure": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": platform.url},
        "app-service": {"IDENTITY_ENDPOINT": f"{platform.url}/msi/token", "IDENTITY_HEADER": IDENTITY_HEADER},
        "aws": {**aws, "AWS_ENDPOINT_URL_STS": platform.url},
    }[name]


@pytest.fixture
def spiffe_agent(tmp_path: Path) -> Iterator[str]:
    """A workload API at a Unix socket; it is slow where SPIFFE_TEST_SILENT is set."""
    pytest.importorskip("spiffe", reason="the package spiffe is not installed")

    def sign(audience: str) -> str:
        if os.environ.get("SPIFFE_TEST_SILENT"):
            time.sleep(1)
        return issue(audience, sub="spiffe://example.org/app")

    address = f"unix:{tmp_path / 'agent.sock'}"
    with workload_api(address, sign):
        yield address
