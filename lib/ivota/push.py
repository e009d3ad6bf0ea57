"""A push: one firmware that the cloud wants on this board."""


class Push:
    """One `update_firmware`, and once its bytes are verified the firmware itself.

    Each field, and the modules that set it beside this one:

    version: as the cloud names it
    url: where it is
    md5: of all its bytes, in lower case
    size: in bytes
    echo: what each report of it has to say again; None or a dictionary
    authorization: the header of that name for the server in `url`, or None (push_parser)

    For a push that is all. These are there once its bytes are right:

    path: of the file; for an image in a slot of its checkpoint (handover, patcher)
    slot: the label of the partition, None for a file (handover, patcher)
    payload_size: how many of the bytes are the application's, without a signature (handover,
        patcher, signature_footer)
    sequence: the number by which it is signed, 0 where it is not (signed_header)
    kind: what its owner says that it is, if it is signed: bundle, patch and so on (signed_header)
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
        """Whether both mean the same bytes; a URL, signed afresh each time, says nothing."""
        return (
            other is not None
            and self.md5 == other.md5
            and self.size == other.size
            and self.version == other.version
        )
