"""Values of the right kind with which a board could not work; apart, to have the heap alone."""

_OURS = (b"app", b"lib")  # folders that must not be cleared
_NEVER_0 = (
    ("http", ("timeout_s", "deadline_s")),
    ("retry", ("first_s", "most_s")),
    ("trial", ("power_boots", "limit_s")),
)


def check(config, error):
    """Raise `error` for such a value in the whole configuration."""
    # Each update deletes all other files in this folder.
    top, *folders = config["firmware_dir"].encode().split(b"/")
    named = all([part.strip(b".") for part in folders])
    if top or not folders or not named or folders[0] in _OURS:
        raise error('firmware_dir must be a folder of its own, such as "/firmware"')
    if not all([type(path) is str and path for path in config["keys"]]):
        raise error("keys must be a list of paths")
    for part, names in _NEVER_0:
        for name in names:
            if not config[part][name]:
                raise error("%s must be above 0" % (part + "." + name))
    if not config["report_interval_s"]:
        raise error("%s must be above 0" % "report_interval_s")
    for name, topic in config["topics"].items():
        # Several topics are separated by line breaks (aliyun).
        if set(b"+#\0") & set(topic.encode()) or not all(topic.split("\n")):
            raise error("topics.%s must be a topic without + and #" % name)
