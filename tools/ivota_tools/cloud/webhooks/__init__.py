"""Webhooks: the cloud notifies other servers of events that an operator should know."""
