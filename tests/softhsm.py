"""A PKCS #11 token in software, for tests: SoftHSM, in a folder of the test's own."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT, CONFIGURATION = "AFFIANT_SOFTHSM", "SOFTHSM2_CONF"
_USUAL = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
MISSING = f"SoftHSM is not installed: apt-get install softhsm2, or set {ENVIRONMENT} to libsofthsm2.so"
LABEL, PIN = "affiant-test", "correct-horse-7"


@dataclass(frozen=True)
class SoftHsm:
    """One token.

    Attributes:
        configuration: where SOFTHSM2_CONF must point for whoever uses it.
    """

    module: Path
    configuration: Path

    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {
            CONFIGURATION: str(self.configuration),
            "AFFIANT_PKCS11_MODULE": str(self.module),
            "AFFIANT_PKCS11_TOKEN": LABEL,
            "AFFIANT_PKCS11_PIN": PIN,
        }


def make(folder: Path) -> SoftHsm | None:
    """A token in this folder; None where SoftHSM is not installed."""
    module = next(
        (Path(place) for place in (os.environ.get(ENVIRONMENT), *_USUAL) if place and Path(place).is_file()), None
    )
    tool = shutil.which("softhsm2-util")
    if module is None or tool is None:
        return None
    tokens, configuration = folder / "tokens", folder / "softhsm2.conf"
    tokens.mkdir(parents=True)
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    words = ("--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "12345678", "--module", str(module))
    subprocess.run(
        [tool, *words], env={**os.environ, CONFIGURATION: str(configuration)}, check=True, capture_output=True
    )
    return SoftHsm(module, configuration)
