"""The cloud's side of the protocol: broker, HTTP and the console's engine."""

from .cloud import Cloud
from .errors import CloudError
from .rollout import BackOff
from .tls import Certificate

__all__ = ["BackOff", "Certificate", "Cloud", "CloudError"]
