"""An error about a missing package names the extra that has it."""

import subprocess
import sys

import pytest

CLIENT = """
from affiant import Service
from affiant.errors import ConfigError
try:
    Service("https://as.example", "billing", secret="s").token()
except ConfigError as error:
    print(error)
"""
GUARD = """
from affiant import Guard
from affiant.errors import ConfigError
try:
    Guard("https://as.example", audience="https://orders.example").check_sync([b"Bearer TOKEN"])
except ConfigError as error:
    print(error)
"""
OTEL = """
from affiant.errors import ConfigError
from affiant.telemetry import NAME
try:
    NAME(CALLED)
except ConfigError as error:
    print(error)
"""
DOCKER = "from affiant.cli.tokens.helper.docker import main; main()"
TOKEN = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUifQ." + "A" * 86


@pytest.mark.parametrize(
    ("package", "program", "extra"),
    [
        ("httpx2", CLIENT, "client"),
        ("httpx2", GUARD.replace("TOKEN", TOKEN), "guard"),
        ("click", DOCKER, "cli"),
        ("opentelemetry", OTEL.replace("NAME", "Traces").replace("CALLED", ""), "otel"),
        ("opentelemetry", OTEL.replace("NAME", "to_opentelemetry").replace("CALLED", "None"), "otel"),
    ],
    ids=["client", "guard", "docker", "traces", "meters"],
)
def test_a_missing_package_is_named_with_its_extra(package: str, program: str, extra: str) -> None:
    blocked = f"import sys\nsys.modules[{package!r}] = None\n{program}"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert f"affiant[{extra}]" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
