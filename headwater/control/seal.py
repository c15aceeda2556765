"""How keys are stored: encrypted under the deployment's secret."""

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_LENGTH = 12


class SealError(Exception):
    """A sealed text cannot be opened: another secret, another context, or changed bytes."""


class Seal:
    """AES-256-GCM under a key derived (HKDF-SHA-256) from the deployment's secret.

    The context is authenticated with the text: what was sealed for one record cannot be opened as part of another.
    """

    def __init__(self, secret: str) -> None:
        key = HKDF(SHA256(), length=32, salt=None, info=b"headwater control plane v1").derive(secret.encode())
        self._cipher = AESGCM(key)

    def close(self, text: str, context: str) -> str:
        """The text encrypted, as base64; another one each time."""
        nonce = secrets.token_bytes(NONCE_LENGTH)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())).decode()

    def open(self, sealed: str, context: str) -> str:
        """What `close` sealed for the same context. Raises SealError."""
        try:
            data = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:NONCE_LENGTH], data[NONCE_LENGTH:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SealError("cannot be decrypted") from error
