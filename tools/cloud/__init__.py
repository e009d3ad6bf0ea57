"""The cloud's side of the protocol: broker, HTTP and the console's engine."""

from .cloud import Cloud
from .errors import CloudError
from .rollout import BackOff

__all__ = ["BackOff", "Cloud", "CloudError"]
