"""Firmware files: releases, bundles, patches, signatures and compiled code."""
