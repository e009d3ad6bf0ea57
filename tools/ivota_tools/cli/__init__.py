"""The command `ivota`: its subcommands, and how each shows its results."""
