"""Define the exception that the cloud raises to its caller."""


class CloudError(RuntimeError):
    """The cloud cannot start or has failed; the message explains why and what to do."""
