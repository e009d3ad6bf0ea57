"""Load the TLS certificate of HTTP and MQTT."""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ..common.durations import span
from .cloud_error import CloudError

log = logging.getLogger("ivota.cloud")

OLD_S = 14 * 86400.0  # how long before the expiry the cloud warns the operator


@dataclass(frozen=True)
class Certificate:
    """Two PEM files: the certificate with its chain, and its private key."""

    chain: Path
    key: Path

    def expires(self) -> float:
        """Return when the certificate expires, in Unix seconds. Raises CloudError."""
        try:
            first = x509.load_pem_x509_certificates(self.chain.read_bytes())[0]
        except (OSError, ValueError) as error:
            raise CloudError(f"cannot read a certificate from {self.chain} ({error})") from None
        return first.not_valid_after_utc.timestamp()

    def warn_if_old(self) -> None:
        """Log when the certificate expires, if that is soon. Raises CloudError."""
        left_s = self.expires() - time.time()
        if left_s <= 0:
            log.warning("the certificate %s has expired: renew it", self.chain)
        elif left_s < OLD_S:
            log.warning("the certificate %s expires in %s: renew it", self.chain, span(left_s))

    def context(self) -> ssl.SSLContext:
        """Create a server's TLS context. Raises CloudError if the files are invalid."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Do not prompt for a password, which a service could not enter.
            context.load_cert_chain(self.chain, self.key, password="")
        except ssl.SSLError as error:
            raise CloudError(
                f"{self.chain} and {self.key} are not a certificate and its unencrypted key "
                f"({error.reason or error})"
            ) from None
        except OSError as error:
            name = self.chain if not self.chain.is_file() else self.key
            raise CloudError(
                f"cannot read {name} ({error.strerror}): check --tls-cert and --tls-key"
            ) from None
        return context
