"""What the cloud raises to those who start it."""


class CloudError(RuntimeError):
    """The cloud cannot start, or has failed; says why and what to do."""
