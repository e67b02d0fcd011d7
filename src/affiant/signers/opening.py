"""Open the signer that a name with a scheme names, such as ``awskms:alias/billing``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from affiant.errors import LocalError

if TYPE_CHECKING:  # it loads cryptography
    from affiant.signers.checked import Checked

# The module of each scheme, with a function `open_key(place, *, name, alg, kid)`, and its extra.
_SCHEMES: dict[str, tuple[str, str]] = {
    "awskms": ("affiant.signers.kms.aws", "aws"),
    "gcpkms": ("affiant.signers.kms.gcp", "gcp"),
    "azurekv": ("affiant.signers.kms.azure", "azure"),
    "vault": ("affiant.signers.kms.vault", "client"),
    "pkcs11": ("affiant.signers.pkcs11.key", "pkcs11"),
}
SCHEMES = tuple(_SCHEMES)


def is_name(text: str) -> bool:
    """Whether this text names a key that is held elsewhere."""
    return text.partition(":")[0] in _SCHEMES


def open_signer(name: str, *, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the signer of a key in a KMS or a device, which is asked when `alg`, `kid`, `public` or `sign` is used.

    Args:
        name: ``awskms:KEY_ID_OR_ARN``, ``gcpkms:projects/.../cryptoKeyVersions/N``,
            ``azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION``, ``vault:MOUNT/KEY``, or a URI of RFC 7512
            such as ``pkcs11:token=NAME;object=LABEL?pin-source=file:/PATH``.
        alg: the algorithm (RFC 7518 section 3.1); chosen by the key if left out.
        kid: for the header; the thumbprint of the public key if left out (RFC 7638).

    Raises:
        LocalError: there is no such scheme, its package is not installed, or the name or the environment is not
            complete.
    """
    scheme, _, place = name.partition(":")
    if scheme not in _SCHEMES:
        raise LocalError(f"{scheme!r} is no scheme of a key: use {', '.join(f'{known}:' for known in _SCHEMES)}")
    module, extra = _SCHEMES[scheme]
    try:
        open_key = cast("Callable[..., Checked]", import_module(module).open_key)
    except ImportError as error:
        raise LocalError(
            f"{scheme}: needs a package that is not installed ({error.name}): pip install 'affiant[{extra}]'"
        ) from None
    return open_key(place, name=name, alg=alg, kid=kid)
