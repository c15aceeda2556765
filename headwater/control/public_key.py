"""Public keys as vendors show them for their signatures."""

import base64
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key


@lru_cache(maxsize=256)
def elliptic_key(text: str) -> EllipticCurvePublicKey:
    """The key of base64 text, with or without PEM's lines around it. Raises ValueError where it is none."""
    inner = "".join(line for line in text.splitlines() if "-----" not in line)
    try:
        key = load_der_public_key(base64.b64decode(inner))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("it is no public key of an elliptic curve: set the one that SendGrid shows")
    return key
