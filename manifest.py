"""Freeze ivota into a firmware: include this file in the manifest of your board.

    include("/path/to/ivota/manifest.py")                    # the updater
    include("/path/to/ivota/manifest.py", boot_files=True)   # with boot.py and main.py

docs/guide.md ("Firmware with ivota in it") has a whole manifest. What is frozen takes no heap for
its code, and nothing on flash can damage it.
"""

# Frozen, boot.py and main.py run in place of the files on flash.
options.defaults(boot_files=False)

require("umqtt.simple")
require("requests")

# As `ivota release` compiles them: without assertions, with line numbers.
package("ivota", base_path="lib", opt=2)
module("bundlefs.py", base_path="lib", opt=2)

if options.boot_files:
    module("boot.py", opt=2)
    module("main.py", opt=2)
