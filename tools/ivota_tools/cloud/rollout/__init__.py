"""Decide which device gets which firmware and when: assignments and campaigns."""
