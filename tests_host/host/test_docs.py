"""What the documents list is what the code has."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_every_event_is_documented_and_no_other() -> None:
    found: set[str] = set()
    for path in (CHECKOUT / "lib" / "ivota").glob("*.py"):
        # A call of a log: its level and its event are the first two arguments.
        text = path.read_text()
        found |= set(re.findall(r'log\(\s*"(?:info|warning|error)",\s*"(\w+)"', text))
    table = (CHECKOUT / "docs" / "events.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == found


def test_every_key_of_the_configuration_is_documented() -> None:
    text = (CHECKOUT / "lib" / "ivota" / "config.py").read_text()
    keys = text.split('_DEFAULTS = """')[1].split('"""')[0]
    documented = (CHECKOUT / "docs" / "formats.md").read_text()
    for key in re.findall(r'"(\w+)":', keys):
        assert re.search(rf"`(\w+\.)?{key}`", documented) or f"{key}." in documented, key
