"""Files with secrets: which ones are taken, what root leaves behind, and what a denied access says."""

import ctypes
import errno
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from affiant.errors import ConfigError
from affiant.server.request.limits import Limits, Rates
from affiant.system import files

CANARY = b"canary-cafe"
SOMEBODY, GROUP = 65534, 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others: run as root")
needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let root mount a file system: run where unshare -m works",
)
# Reads the file as another user, and prints what came.
READ = """
import os, sys
from pathlib import Path
from affiant.system import files
os.setgroups([{group}] if {group} else [])
os.setresgid(*[65533] * 3)
os.setresuid(*[{uid}] * 3)
try:
    print(files.read_private(Path(sys.argv[1]), what="the secret", variable="AFFIANT_X").decode())
except files.ConfigError as error:
    print(error)
"""


def _read(path: Path, uid: int, *, group: int = 0, before: str = "") -> str:
    script = f'{before}\nexec "$0" -c "$1" "$2"'
    words = [sys.executable, READ.format(uid=uid, group=group), str(path)]
    done = subprocess.run(["unshare", "-m", "sh", "-ec", script, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() + done.stderr


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user may enter: the one of pytest is closed."""
    with tempfile.TemporaryDirectory(prefix="affiant-files-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _secret(path: Path, mode: int, *, owner: int | None = None, group: int | None = None) -> Path:
    path.write_bytes(CANARY)
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, group if group is not None else owner)
        path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert files.read_private(_secret(tmp_path / "s", mode), what="x", variable="X") == CANARY


def test_a_device_is_no_file_of_a_secret() -> None:
    """An advice to change its mode would harm every process of the machine."""
    with pytest.raises(ConfigError, match="the key cannot be /dev/null, which is a device"):
        files.read_private(Path("/dev/null"), what="the key", variable="X")


def test_a_pipe_without_a_writer_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigError, match=r"the key .*pipe is a pipe, into which nothing was written within 0\.1 s"):
        files.read_private(pipe, what="the key", variable="X")


def test_what_a_command_writes_into_a_pipe_is_read_whole() -> None:
    """As in  affiant token -c <(sops -d FILE)."""
    read, write = os.pipe()
    with subprocess.Popen(["sh", "-c", "printf canary-; sleep 0.1; printf cafe"], stdout=write):
        os.close(write)
        assert files.read_private(Path(f"/dev/fd/{read}"), what="the key", variable="X") == CANARY
    os.close(read)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o602, 0o440, 0o444])
def test_the_file_of_this_user_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = _secret(tmp_path / "a b", mode)
    with pytest.raises(ConfigError, match=f"chmod 600 '{path}'") as refused:
        files.read_private(path, what="x", variable="X")
    assert f"mode {mode:04o}" in str(refused.value)
    assert "canary" not in str(refused.value)


# owner, mode, read-only mount, reader: whether it is taken. Kubernetes gives 0440 and 0640 with fsGroup and 0644
# without, on a read-only mount; Docker 0444; systemd 0440 as the mask of its ACL.
RULE = [
    (0, 0o440, False, SOMEBODY, True),
    (0, 0o640, False, SOMEBODY, True),
    (0, 0o440, True, SOMEBODY, True),
    (0, 0o644, True, SOMEBODY, True),
    (0, 0o444, True, SOMEBODY, True),
    (0, 0o444, True, 0, True),  # root in a container cannot change the mode either
    (0, 0o644, False, SOMEBODY, False),  # on the disk of a machine with other users
    (0, 0o444, False, SOMEBODY, False),
    (0, 0o640, False, 0, False),
    (0, 0o660, True, SOMEBODY, False),  # others can write it
    (0, 0o620, True, SOMEBODY, False),
    (0, 0o666, True, SOMEBODY, False),
    (SOMEBODY, 0o444, True, SOMEBODY, False),  # its owner can give it another mode elsewhere
    (SOMEBODY, 0o640, False, SOMEBODY, False),
    (1234, 0o640, False, SOMEBODY, False),  # another user than root can read and write it
    (1234, 0o444, True, SOMEBODY, False),
]


@pytest.mark.parametrize(("owner", "mode", "read_only", "reader", "is_taken"), RULE)
def test_the_rule(
    monkeypatch: pytest.MonkeyPatch, *, owner: int, mode: int, read_only: bool, reader: int, is_taken: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    found = os.stat_result((0o100000 | mode, 1, 1, 1, owner, 7, 1, 0, 0, 0))
    assert files._is_private(found, read_only=read_only) is is_taken


def _acl(path: Path, uid: int) -> None:
    """As systemd gives a credential to the user of a unit: an ACL entry, whose mask shows as the group's bits."""
    entries = [
        (0x01, 4, 0xFFFFFFFF),
        (0x02, 4, uid),
        (0x04, 0, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    if ctypes.CDLL(None, use_errno=True).setxattr(bytes(path), b"system.posix_acl_access", value, len(value), 0):
        pytest.skip("this file system has no ACLs")


@needs_mount
def test_what_systemd_gives_to_a_user_is_taken(open_path: Path) -> None:
    path = _secret(open_path / "affiant", 0o400, owner=0)
    _acl(path, SOMEBODY)
    assert path.stat().st_mode & 0o777 == 0o440
    assert _read(path, SOMEBODY) == CANARY.decode()
    assert "Permission denied" in _read(path, 1234)


@needs_mount
def test_a_secret_of_kubernetes_is_taken_through_its_links(open_path: Path) -> None:
    """`..data` is a link that is replaced as a whole; the mount is read-only, the files are root's and 0644."""
    mount = open_path / "mount"
    data = mount / "..2026_11_28"
    data.mkdir(parents=True)
    _secret(data / "credentials.json", 0o644)
    (mount / "..data").symlink_to("..2026_11_28")
    (mount / "credentials.json").symlink_to("..data/credentials.json")
    path = mount / "credentials.json"
    read_only = f"mount --bind '{mount}' '{mount}'; mount -o remount,bind,ro '{mount}'"
    assert _read(path, SOMEBODY, before=read_only) == CANARY.decode()
    assert _read(path, 0, before=read_only) == CANARY.decode()
    refused = _read(path, SOMEBODY)
    assert "root must run  chmod 600" in refused
    assert "put its content into AFFIANT_X" in refused
    os.chown(data / "credentials.json", 0, GROUP)
    (data / "credentials.json").chmod(0o440)
    assert _read(path, 1234, group=GROUP) == CANARY.decode()
    assert "Permission denied" in _read(path, 1234)


@as_root
def test_root_leaves_its_files_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, GROUP)
    os.close(files.create_private(tmp_path / "new"))
    os.close(files.ensure_private(tmp_path / "sure"))
    for name in ("new", "sure"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (SOMEBODY, GROUP, 0o600)


@as_root
@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
def test_the_owner_of_the_folder_gets_no_other_file(tmp_path: Path, kind: str) -> None:
    """Attack: the owner of the folder replaces a name by a link. Root must not give away a file that it did not create."""
    precious = _secret(tmp_path / "precious", 0o600)
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, SOMEBODY, GROUP)
    getattr(folder / "new", kind)(precious)
    with pytest.raises(FileExistsError):
        files.create_private(folder / "new")
    with pytest.raises(OSError, match="link"):
        files.ensure_private(folder / "new")
    assert precious.stat().st_uid == 0
    assert precious.read_bytes() == CANARY


@as_root
@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
def test_root_writes_into_no_file_that_a_link_names(tmp_path: Path, kind: str) -> None:
    """Attack: a link makes a server that root started write a megabyte of zeros into another file."""
    precious = _secret(tmp_path / "precious", 0o600)
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, SOMEBODY, GROUP)
    getattr(folder / "limits", kind)(precious)
    with pytest.raises(ConfigError, match="limits cannot be used"):
        Limits(Rates(), key=bytes(32), path=folder / "limits")
    assert precious.read_bytes() == CANARY
    # Of the user itself, and in root's own folder, a link is an arrangement of theirs.
    os.close(files.ensure_private(tmp_path / "precious"))
    (tmp_path / "mine").symlink_to(precious)
    os.close(files.ensure_private(tmp_path / "mine"))


def test_a_dangling_link_creates_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        files.ensure_private(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@as_root
@pytest.mark.parametrize(
    ("owner", "folder_owner", "says"),
    [
        (
            0,
            SOMEBODY,
            "DATA/affiant.db belongs to root and this process runs as nobody: run as root  chown -R nobody: DATA",
        ),
        (SOMEBODY, SOMEBODY, ""),
        (0, 0, "DATA/affiant.db belongs to root and this process runs as nobody: run it with  sudo -u root"),
        (None, 0, "DATA belongs to root and this process runs as nobody: run it with  sudo -u root"),
        (None, 1234, "DATA belongs to 1234 and this process runs as nobody: run it with  sudo -u '#1234'"),
    ],
)
def test_a_denied_access_names_the_owner_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, owner: int | None, folder_owner: int, says: str
) -> None:
    path = tmp_path / "affiant.db"
    if owner is not None:
        _secret(path, 0o600, owner=owner)
    os.chown(tmp_path, folder_owner, 0)
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    message = files.denied(path, PermissionError(errno.EACCES, "Permission denied"), folder=tmp_path)
    assert message.removeprefix("; ") == says.replace("DATA", str(tmp_path))
    if owner == 0:
        alone = files.denied(path, PermissionError(errno.EACCES, "Permission denied"))
        assert alone.endswith(f"run as root  chown nobody: {path}")
    assert files.denied(path, OSError(errno.ENOSPC, "No space left"), folder=tmp_path) == ""
