"""Webhooks: the cloud tells other servers what an operator should know."""
