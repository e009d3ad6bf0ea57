"""Select the files of an application's folder for its bundle."""

from __future__ import annotations

from pathlib import Path

from pathspec import GitIgnoreSpec

from ..bundle import FACTS, ReleaseError

IGNORE_FILE = ".ivotaignore"
# Excluded unless the folder's ignore file includes them with "!".
HIDDEN = (".*", "__pycache__/", "*.py[cod]")
DEVELOPMENT = (
    *("tests/", "venv/", "env/", "node_modules/", "*.egg-info/"),
    *("*~", "*.swp", "Thumbs.db", "desktop.ini"),
)


def collect(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return (map from paths in the bundle to files, excluded files that are not hidden).

    Raises ReleaseError for links, devices, a file with the reserved name, and an unreadable ignore
    file.
    """
    lines = _ignore_file(folder)
    hidden = GitIgnoreSpec.from_lines(HIDDEN)
    ignored = GitIgnoreSpec.from_lines([*HIDDEN, *DEVELOPMENT, *lines])
    # If so, files in ignored folders may be included.
    takes_back = any(line.startswith("!") for line in lines)
    found: dict[str, Path] = {}
    left_out: list[str] = []

    def walk(where: Path, prefix: str) -> None:
        for entry in sorted(where.iterdir()):
            name = prefix + entry.name
            if entry.is_dir() and not entry.is_symlink():
                name += "/"
                ignore = ignored.match_file(name)
                files, mentioned = len(found), len(left_out)
                if takes_back or not ignore:
                    walk(entry, name)
                if not ignore or len(found) > files:
                    continue
                del left_out[mentioned:]
            elif not ignored.match_file(name):
                _check(entry, name)
                found[name] = entry
                continue
            if not hidden.match_file(name):
                left_out.append(name)

    walk(folder, "")
    return found, left_out


def _check(entry: Path, name: str) -> None:
    if entry.is_symlink():
        raise ReleaseError(f"{name} is a link: replace it with the file itself")
    if not entry.is_file():
        raise ReleaseError(f"{name} is neither a file nor a folder")
    if name.split("/")[0] == FACTS:
        raise ReleaseError(f"{name} is a reserved name in a bundle: rename your file")


def _ignore_file(folder: Path) -> list[str]:
    path = folder / IGNORE_FILE
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        GitIgnoreSpec.from_lines(lines)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ReleaseError(f"cannot use {path}: {error}") from None
    return lines
