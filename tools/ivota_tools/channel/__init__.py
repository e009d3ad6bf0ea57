"""A channel: firmware and a signed index as static files, for boards without a broker."""
