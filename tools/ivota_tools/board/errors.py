"""Errors that `ivota board` shows to its user instead of a traceback."""


class BoardError(RuntimeError):
    """A problem with the board, its port or its configuration, and what to do."""


class SilentError(BoardError):
    """The board did not respond in time, and a retry would take as long again."""
