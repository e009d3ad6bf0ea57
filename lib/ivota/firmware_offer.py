"""A push: one firmware that the cloud wants on this board."""


class Push:
    """One `update_firmware`; after its bytes are verified, also the firmware itself.

    Each field, and the other modules that set it:

    version: the cloud's name for it
    url: the download's URL
    md5: of all its bytes, in lower case
    size: in bytes
    echo: what each report must repeat; None or a dictionary
    authorization: the header of that name for the server in `url`, or None (message_handler)

    A push has only these fields. After the bytes are verified:

    path: of the file; for an image in a slot, of its checkpoint (verification, patcher)
    slot: the label of the partition, None for a file (verification, patcher)
    payload_size: bytes of the application, without a signature (verification,
        patcher, signature_footer)
    sequence: the signed sequence, 0 if it is not signed (signed_claims)
    kind: the signed kind, if it is signed: bundle, patch and so on (signed_claims)
    """

    sequence = 0
    authorization = None

    def __init__(self, version, url, md5, size, echo=None):
        self.version = version
        self.url = url
        self.md5 = md5
        self.size = size
        self.echo = echo

    def same_firmware(self, other):
        """Return whether both refer to the same bytes; URLs differ because each is signed
        again.
        """
        return (
            other is not None
            and self.md5 == other.md5
            and self.size == other.size
            and self.version == other.version
        )
