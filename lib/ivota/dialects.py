"""Load another cloud's dialect: a module of this package, named in the configuration."""

from ivota import once


def set_topics(config, found, error):
    """Set the topics of the dialect in the checked `config`; those in `found` override them.

    Raises `error` if the dialect does not exist.
    """
    name = config["dialect"]
    try:
        topics = dict(once(name).TOPICS)
    except (ImportError, AttributeError, ValueError):
        raise error("dialect %s is not on the board: no ivota/%s with TOPICS" % (name, name))
    for part in found if isinstance(found, tuple) else (found,):
        given = part.get("topics") or {}
        topics.update({name: given[name] for name in given if given[name] is not None})
    config["topics"] = topics
