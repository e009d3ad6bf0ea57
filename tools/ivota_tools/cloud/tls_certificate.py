"""The certificate that boards and operators are served with."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from .cloud_error import CloudError


@dataclass(frozen=True)
class Certificate:
    """Two PEM files: the certificate with those that vouch for it, and its private key."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server. Raises CloudError where the files are none, or do not belong together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without a question for a password, which a service could not answer.
            context.load_cert_chain(self.chain, self.key, password="")
        except ssl.SSLError as error:
            raise CloudError(
                f"{self.chain} and {self.key} are not a certificate and its key without a "
                f"password ({error.reason or error})"
            ) from None
        except OSError as error:
            name = self.chain if not self.chain.is_file() else self.key
            raise CloudError(
                f"{name} cannot be read ({error.strerror}): does --tls-cert or --tls-key name it?"
            ) from None
        return context
