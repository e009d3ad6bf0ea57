"""Channels that the cloud serves: mirrors of signed folders, or filled from its own firmware."""
