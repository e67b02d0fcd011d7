"""`python -m tests.releasing`: build the distributions as a release does, and check what users would get.

The wheel is built from the working tree and again from the sdist, and has to be the same, byte by byte. Then each extra
is installed into an environment of its own, with the versions of the lock, and imported there.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

REPO = Path(__file__).resolve().parent.parent.parent
TOOLS = REPO / ".venv-dist" / "bin"
UV = REPO / ".venv-lock" / "bin" / "uv"
_SERVER = ("starlette", "uvicorn", "pydantic", "jinja2", "webauthn")
# By extra: what users import with it, and what may not be installed with it.
EXTRAS = {
    "": ("affiant, affiant.jose.keys, affiant.oauth.assertion", (*_SERVER, "httpx2", "click")),
    "client": ("affiant.client", (*_SERVER, "click")),
    "guard": ("affiant.resource", (*_SERVER, "click")),
    "client,guard": ("affiant.client, affiant.resource", (*_SERVER, "click")),
    "cli": ("affiant.cli.main", _SERVER),
    "server": ("affiant.server.app, affiant.cli.server.serve", ("fastapi", "asyncpg", "boto3")),
    "guard,fastapi": ("affiant.resource, fastapi", ("uvicorn", "click")),
    "server,postgres": ("affiant.server.app, asyncpg", ("fastapi",)),
    "client,requests": ("affiant.client, requests", _SERVER),
    "client,keyring": ("affiant.client, keyring", _SERVER),
    "client,metrics": ("affiant.client, prometheus_client", _SERVER),
    "client,otel": ("affiant.client, opentelemetry.trace", _SERVER),
    "client,pkcs11": ("affiant.client, pkcs11", _SERVER),
    "client,aws": ("affiant.client, boto3", _SERVER),
    "client,gcp": ("affiant.client, google.cloud.kms", _SERVER),
    "client,azure": ("affiant.client, azure.identity", _SERVER),
    "guard,redis": ("affiant.resource, redis", _SERVER),
    "client,spiffe": ("affiant.client, spiffe", _SERVER),
}
_IN_WHEEL = (
    r"affiant/py\.typed",
    r"pytest_affiant\.py",
    r"affiant/server/console/templates/.*\.html(\.jinja)?",
    r"affiant/server/console/static/.*\.css",
    r"affiant-.*\.data/data/share/man/man1/affiant\.1",
    r"affiant-.*\.data/data/share/man/man1/affiant-serve\.1",
    r"affiant-.*\.dist-info/licenses/LICENSE",
    r"affiant-.*\.dist-info/sboms/affiant-server\.cdx\.json",
    r"affiant-.*\.dist-info/entry_points\.txt",
)
_NOT_IN_WHEEL = re.compile(
    r"(^|/)(tests|changelog\.d|reference|bench|findings|docs|__pycache__)(/|$)|\.pyc$|\.affiant\.json$"
)
_IN_SDIST = (
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "requirements.lock",
    "tests/conftest.py",
    "docs/man/affiant.1",
)


def main(extras: list[str]) -> None:
    """Build into dist/, and check; with names, only these extras."""
    _check_forge()
    with TemporaryDirectory() as folder:
        sdist, wheel = _build(Path(folder))
        _check_contents(sdist, wheel)
        _run(TOOLS / "twine", "check", "--strict", str(sdist), str(wheel))
        _check_sbom(wheel, Path(folder))
        for extra in extras or EXTRAS:
            _check_extra(extra, wheel, Path(folder) / "venv")
        shutil.rmtree(REPO / "dist", ignore_errors=True)
        shutil.copytree(sdist.parent, REPO / "dist")
    _say(f"dist/{sdist.name} and dist/{wheel.name}")


def _build(folder: Path) -> tuple[Path, Path]:
    """Return an sdist and a wheel; raise if they are not what a second build makes."""
    when = _run("git", "log", "-1", "--format=%ct").strip()
    first, second, source = folder / "first", folder / "second", folder / "source"
    _hatch(REPO, first, when)
    sdist, wheel = next(first.glob("*.tar.gz")), next(first.glob("*.whl"))
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    _hatch(next(source.iterdir()), second, when)
    for made in (sdist, wheel):
        if not filecmp.cmp(made, second / made.name, shallow=False):
            raise SystemExit(f"{made.name} differs from the one that is built from the sdist")
    _say("a second build, from the sdist, is the same byte by byte")
    return sdist, wheel


def _hatch(folder: Path, target: Path, when: str) -> None:
    _run(sys.executable, "-m", "hatchling", "build", "-d", str(target), cwd=folder, SOURCE_DATE_EPOCH=when)


def _check_contents(sdist: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [pattern for pattern in _IN_WHEEL if not any(re.fullmatch(pattern, name) for name in names)]
    strange = [name for name in names if _NOT_IN_WHEEL.search(name)]
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    missing += [name for name in _IN_SDIST if name not in inside]
    if missing or strange:
        raise SystemExit(f"missing: {missing}; not to be in the wheel: {strange}")
    _say(f"{len(names)} files in the wheel, {len(inside)} in the sdist")


def _check_sbom(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".cdx.json"))
        (folder / "sbom.json").write_bytes(archive.read(name))
    program = (
        "import sys; from cyclonedx.schema import SchemaVersion as V; from cyclonedx.validation.json import JsonStrictValidator;"
        " error = JsonStrictValidator(V.V1_6).validate_str(open(sys.argv[1]).read()); sys.exit(str(error) if error else 0)"
    )
    _run(TOOLS / "python", "-c", program, str(folder / "sbom.json"))
    _say("the SBOM is CycloneDX 1.6")


def _check_forge() -> None:
    """Check the files of the forge: workflows, forms and updates."""
    forge = REPO / ".github"
    for kind, files in {
        "github-workflows": sorted(forge.glob("workflows/*.yml")),
        "github-issue-forms": [path for path in forge.glob("ISSUE_TEMPLATE/*.yml") if path.name != "config.yml"],
        "github-issue-config": [forge / "ISSUE_TEMPLATE" / "config.yml"],
        "dependabot": [forge / "dependabot.yml"],
    }.items():
        _run(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{kind}", *map(str, files))
    _run(TOOLS / "zizmor", "--offline", "--quiet", "--persona=pedantic", str(forge))
    _say("the workflows have no weakness that zizmor knows")


def _check_extra(extra: str, wheel: Path, folder: Path) -> None:
    """Install an extra with the versions of the lock, and import what it is for."""
    wanted, strangers = EXTRAS[extra]
    lock = re.sub(r"\s*\\\n\s*--hash=\S+", "", (REPO / "requirements.lock").read_text("utf-8"))
    constraints = folder.with_name("constraints.txt")
    constraints.write_text(lock, "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    _run(UV, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    name = f"affiant[{extra}] @ {wheel.as_uri()}" if extra else f"affiant @ {wheel.as_uri()}"
    _run(UV, "pip", "install", "--quiet", "--python", python, "--constraints", str(constraints), name)
    _run(python, "-c", f"import {wanted}", cwd=folder)
    listed = _run(UV, "pip", "list", "--quiet", "--format=freeze", "--python", python)
    installed = {line.partition("==")[0] for line in listed.splitlines()}
    if found := sorted(installed & set(strangers)):
        raise SystemExit(f"affiant[{extra}] installs {', '.join(found)}")
    _say(f"affiant[{extra}]: {len(installed)} packages")


def _run(program: str | Path, *words: str, cwd: Path = REPO, **environment: str) -> str:
    done = subprocess.run(
        [str(program), *words], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{Path(program).name} {' '.join(words)[:200]}\n{done.stdout}{done.stderr}")
    return done.stdout


def _say(line: str) -> None:
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
