"""PKCS #11 tokens that others wrote, for tests: NSS, a TPM in software and openCryptoki, each in a folder of its own.

Each is a shell script that starts the token, and runs its other arguments next to it. NSS and openCryptoki read fixed
places of the system, so their scripts run as root in a mount namespace, in which these places are other ones.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PIN = "12345678"
SECONDS = 120
_LIBRARIES = [Path("/usr/lib") / f"{os.uname().machine}-linux-gnu", Path("/usr/lib64"), Path("/usr/lib")]
_PRIVATE = ("unshare", "--mount", "--ipc")

_NSS = """
set -e
mkdir -p "$D/db" "$D/modules"
printf '%s' "$AFFIANT_PKCS11_PIN" > "$D/pin"
certutil -N -d "sql:$D/db" -f "$D/pin"
printf "module: %s\\nx-init-reserved: configdir='sql:%s' certPrefix='' keyPrefix='' secmod='secmod.db' flags=\\n" \
    "$SOFTOKEN" "$D/db" > "$D/modules/nss.module"
mount --bind "$D/modules" /usr/share/p11-kit/modules
exec "$@"
"""

_TPM = """
set -e
mkdir -p "$D/state" "$D/store"
export DBUS_SESSION_BUS_ADDRESS="unix:path=$D/bus" TPM2TOOLS_TCTI=tabrmd:bus_type=session
export TPM2_PKCS11_TCTI=tabrmd:bus_type=session TPM2_PKCS11_STORE="$D/store"
dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork --nopidfile > "$D/log" 2>&1 &
started=$!
trap 'kill $started' EXIT
swtpm socket --tpm2 --tpmstate "dir=$D/state" --server "type=unixio,path=$D/tpm" --ctrl "type=unixio,path=$D/tpm.ctrl" \
    --flags not-need-init,startup-clear >> "$D/log" 2>&1 &
started="$started $!"
until [ -S "$D/bus" ] && [ -S "$D/tpm" ] && [ -S "$D/tpm.ctrl" ]; do sleep 0.05; done
tpm2-abrmd --session --allow-root --tcti="swtpm:path=$D/tpm" >> "$D/log" 2>&1 &
started="$! $started"
tries=0
until tpm2_getcap properties-fixed > "$D/properties" 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || { cat "$D/properties" "$D/log" >&2; exit 1; }
    sleep 0.1
done
tpm2_ptool init --path "$D/store" >&2
tpm2_ptool addtoken --pid=1 --label=affiant --sopin=87654321 --userpin="$AFFIANT_PKCS11_PIN" --path "$D/store" >&2
"$@"
"""

_OPENCRYPTOKI = """
set -e
mkdir -p "$D/lib"
printf 'version opencryptoki-3.1\\nslot 3\\n{\\nstdll = libpkcs11_sw.so\\n}\\n' > "$D/configuration"
cp -a /var/lib/opencryptoki/. "$D/lib/"
mount --bind "$D/configuration" /etc/opencryptoki/opencryptoki.conf
mount --bind "$D/lib" /var/lib/opencryptoki
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
mkdir -p /run/lock/opencryptoki/swtok
chgrp -R pkcs11 /run/lock/opencryptoki
chmod -R 770 /run/lock/opencryptoki
pkcsslotd
trap 'kill $(cat /run/pkcsslotd.pid)' EXIT
{
    echo affiant | pkcsconf -I -c 3 -S 87654321
    pkcsconf -P -c 3 -S 87654321 -n 76543210
    pkcsconf -u -c 3 -S 76543210 -n "$AFFIANT_PKCS11_PIN"
} >&2
"$@"
"""


@dataclass(frozen=True)
class Foreign:
    """A token that others wrote.

    Attributes:
        needs: the programs that start it.
        packages: of Debian, that have them.
        module: its library.
        label: of the token.
        script: what starts it.
        is_private: whether it is started as root, in a mount namespace of its own.
        softoken: the library behind p11-kit.
    """

    needs: tuple[str, ...]
    packages: str
    module: str
    label: str
    script: str
    is_private: bool = False
    softoken: str = ""

    @property
    def missing(self) -> str:
        """What keeps it from being started; empty where nothing does."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        absent = [need for need in self.needs if shutil.which(need, path=path) is None]
        absent += [name for name in (self.module, self.softoken) if name and _library(name) is None]
        if absent:
            return f"{', '.join(absent)} cannot be found: apt-get install {self.packages}"
        if self.is_private and subprocess.run([*_PRIVATE, "true"], check=False, capture_output=True).returncode:
            return f"{self.label} needs a mount namespace: run the tests as root, with CAP_SYS_ADMIN"
        return ""

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command, with the environment that affiant needs to use the token."""
        environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "D": str(folder),
            "SOFTOKEN": str(_library(self.softoken) if self.softoken else ""),
            "AFFIANT_PKCS11_MODULE": str(_library(self.module)),
            "AFFIANT_PKCS11_TOKEN": self.label,
            "AFFIANT_PKCS11_PIN": PIN,
        }
        prefix = _PRIVATE if self.is_private else ()
        words = [*prefix, "sh", "-c", self.script, "sh", *command]
        # Into files: a daemon that outlived its script would keep a pipe open.
        with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
            done = subprocess.run(words, env=environment, check=False, stdout=out, stderr=err, timeout=SECONDS)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, out.read(), err.read())


def _library(name: str) -> Path | None:
    return next((folder / name for folder in _LIBRARIES if (folder / name).is_file()), None)


NSS = Foreign(
    needs=("certutil", "unshare"),
    packages="libnss3-tools p11-kit-modules",
    module="p11-kit-proxy.so",
    label="NSS Certificate DB",
    script=_NSS,
    is_private=True,
    softoken="libsoftokn3.so",
)
TPM = Foreign(
    needs=("dbus-daemon", "swtpm", "tpm2-abrmd", "tpm2_getcap", "tpm2_ptool"),
    packages="dbus swtpm tpm2-abrmd tpm2-tools libtpm2-pkcs11-1 libtpm2-pkcs11-tools libtss2-tcti-tabrmd0",
    module="pkcs11/libtpm2_pkcs11.so",
    label="affiant",
    script=_TPM,
)
OPENCRYPTOKI = Foreign(
    needs=("pkcsslotd", "pkcsconf", "unshare"),
    packages="opencryptoki",
    module="pkcs11/libopencryptoki.so",
    label="affiant",
    script=_OPENCRYPTOKI,
    is_private=True,
)
