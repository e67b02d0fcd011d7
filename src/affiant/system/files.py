"""Files with secrets: their permissions, their owner if root creates them, and messages about denied access."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import shlex
import stat
import time
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from affiant.errors import ConfigError

PIPE_SECONDS = 30.0  # for the command that writes into a pipe, which may ask for a passphrase
SUFFIX, VERSION = ".affiant.json", 1  # of a credentials file
_MAX_NAME = 160  # characters; with the suffix and that of a temporary file, every file system takes it
_ROOT = 0
_MAX_SECRET = 1 << 20  # bytes
# Permissions of others that are not harmless: to read, and to write.
_OTHERS = 0o066
_WRITE = 0o022
_WORLD = 0o006


def file_name(client_id: str) -> str:
    """Return the name of a client's credentials file: its client_id, percent-encoded as in a URL, and the suffix.

    Attack: a client_id such as ../x or /etc/x writes outside of the folder. The name has no slash.
    """
    name = quote(client_id, safe="")
    if len(name) > _MAX_NAME:
        name = f"{name[:_MAX_NAME]}-{sha256(client_id.encode()).hexdigest()[:16]}"
    return f"{name}{SUFFIX}"


def read_private(path: Path, *, what: str, variable: str) -> bytes:
    """Read a file that only its owner, or a process for which an orchestrator mounted it, can read.

    A pipe is read too, as a shell makes it of ``<(command)``; its writer may take PIPE_SECONDS.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            # Attack: the path is replaced after the check. Check the open file.
            found = os.fstat(file.fileno())
            if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):  # the message must not suggest chmod for it
                raise ConfigError(f"{what} cannot be {path}, which is a device: name a file")
            is_read_only = bool(os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY)
            if not _is_private(found, read_only=is_read_only):
                raise ConfigError(_exposed(path, found, variable))
            if stat.S_ISFIFO(found.st_mode):
                return _read_pipe(file.fileno(), f"{what} {path}")
            return file.read(_MAX_SECRET)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}{denied(path, error)}") from error


def _open(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # or it waits for the writer of a pipe, who may never come


def _read_pipe(descriptor: int, what: str) -> bytes:
    end = time.monotonic() + PIPE_SECONDS
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    data = b""
    while len(data) < _MAX_SECRET:
        if not waiting.poll(max(0.0, end - time.monotonic()) * 1000):
            raise ConfigError(f"{what} is a pipe, into which nothing was written within {PIPE_SECONDS:g} s")
        chunk = os.read(descriptor, _MAX_SECRET)
        if not chunk:
            break
        data += chunk
    return data


def read_secret(path: Path, *, what: str, variable: str) -> bytes:
    """Return the secret in a private file without the line end that editors add, or raise ConfigError.

    The message does not name a missing file: the name may be the secret itself, by mistake.
    """
    try:
        data = read_private(path, what=what, variable=variable)
    except (FileNotFoundError, ValueError):
        raise ConfigError(f"{what} cannot be read: there is no such file") from None
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _is_private(found: os.stat_result, *, read_only: bool) -> bool:
    """Whether the file can be trusted with a secret.

    PostgreSQL's rule for its key, and the mounts of Kubernetes, systemd and Docker: others may never write it. The
    group may read a file of root, because only root can give it to a group; systemd's ACL for one user appears in the
    bits of the group. All users may read a file of root on a read-only mount, because this process can neither change
    nor choose the mount, and a user without access to the mount cannot read the file.
    """
    mode = stat.S_IMODE(found.st_mode) & _OTHERS
    if not mode:
        return True
    if mode & _WRITE or found.st_uid != _ROOT:
        return False
    return read_only or (not mode & _WORLD and os.geteuid() != _ROOT)


def _exposed(path: Path, found: os.stat_result, variable: str) -> str:
    what = f"others may {'write' if found.st_mode & _WRITE else 'read'} {path} (mode {stat.S_IMODE(found.st_mode):04o})"
    remedy = f"chmod 600 {shlex.quote(str(path))}"
    if found.st_uid == os.geteuid():
        return f"{what}: run  {remedy}"
    return (
        f"{what}: {user(found.st_uid)} must run  {remedy};"
        f" or mount it read-only and owned by root, or put its content into {variable}"
    )


def base_folder(variable: str, below_home: str) -> Path | None:
    """Return a folder of the XDG Base Directory Specification, or None for a user without a home."""
    named = os.environ.get(variable, "")
    with contextlib.suppress(RuntimeError):
        return Path(named) if named.startswith("/") else Path.home() / below_home  # a relative one must be ignored
    return None


def create_private(path: Path, *, flags: int = os.O_RDWR) -> int:
    """Create a file with mode 0600 that does not exist yet, and return its descriptor.

    Created by root, it belongs to the owner of its folder: the server that runs as that user must be able to use it.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == _ROOT:
        folder = path.parent.stat()
        # Attack: the owner of the folder puts a link to another file under the name. The descriptor is of a new file.
        with contextlib.suppress(OSError):  # in some containers root may not change the owner
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def ensure_private(path: Path, *, flags: int = os.O_RDWR) -> int:
    """Open a file, created as by `create_private` if it does not exist, and return its descriptor.

    Root follows no link in a folder of another user: it could lead to any file.
    """
    try:
        return create_private(path, flags=flags)
    except FileExistsError:
        if os.geteuid() != _ROOT or path.parent.stat().st_uid == _ROOT:
            return os.open(path, flags | os.O_CLOEXEC)
        # Attack: a link makes a server that root started write into another file.
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.ELOOP, "it is a link to a file elsewhere, or no file", str(path)) from None
        return descriptor


def denied(path: Path, error: OSError, *, folder: Path | None = None) -> str:
    """Return the end of a message about a denied access: the owner and what to run; empty for other errors."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    place, owner = _closest(path)
    if owner == os.geteuid():  # the mode denies access, and the message says so
        return ""
    mine = user(os.geteuid())
    text = f"; {place} belongs to {user(owner)} and this process runs as {mine}: "
    if folder is None and owner == 0 and not place.is_dir():  # a service should not run as root to read its own secret
        return f"{text}run as root  chown {mine}: {shlex.quote(str(place))}"
    # Suggest chown to the owner of the folder only: another user's chown would lock the server out.
    if place.is_dir() or place.absolute().parent.stat().st_uid != os.geteuid():
        return f"{text}run it with  sudo -u {_for_sudo(owner)}"
    target = f"-R {mine}: {shlex.quote(str(folder))}" if folder is not None else f"{mine}: {shlex.quote(str(place))}"
    return f"{text}run as root  chown {target}"


def _closest(path: Path) -> tuple[Path, int]:
    """Return the path, or the closest parent that this process can stat, with its owner."""
    for place in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return place, place.stat().st_uid
    return path, os.geteuid()


def _for_sudo(uid: int) -> str:
    """Return the user as sudo takes it: a number without a name has a # in front."""
    name = user(uid)
    return f"'#{uid}'" if name == str(uid) else name


def user(uid: int) -> str:
    """Return the name of a user, or the number if it has no name, as in many containers."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
