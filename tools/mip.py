"""`python -m ivota_tools.mip [BASE_URL] > package.json`, when a file of lib/ comes or goes."""

from __future__ import annotations

import json
import sys

from . import tree


def package_json(base: str = "") -> str:
    """The text of package.json, from which mip and `mpremote mip` install lib/.

    With `base`, a URL that ends in "/", the files' URLs are whole: mip 0.3 and older, frozen into
    MicroPython before 1.25 and into Debian's 1.26, take no relative ones.
    """
    urls = [[path, f"{base}lib/{path}"] for path in tree.library_files(tree.root())]
    lines = ",\n".join(f"    {json.dumps(url)}" for url in urls)
    head = f'  "version": {json.dumps(tree.version())},\n  "urls": [\n'
    return f'{{\n{head}{lines}\n  ],\n  "deps": []\n}}\n'


if __name__ == "__main__":
    print(package_json(*sys.argv[1:2]), end="")
