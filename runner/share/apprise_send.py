"""Sends a message through Apprise: ``python -m casarun.share.apprise_send``, JSON on its input.

A process of its own, because a library that waits for a server cannot be told to stop.
"""

from __future__ import annotations

import json
import logging
import sys

_NOT_THERE = "Apprise is not installed: pip install 'casarun[notify]'"


def main() -> int:
    """Send what stands on the standard input; what went wrong is the last line of the output."""
    message = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        print(_NOT_THERE)
        return 1
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    post = apprise.Apprise(asset=apprise.AppriseAsset(app_id="casarun", secure_logging=True))
    for number, url in enumerate(message["url"], 1):
        if not post.add(url):
            print(f"address {number} is none that Apprise knows")
            return 1
    sent = post.notify(
        body=message["body"],
        title=message["title"],
        notify_type=message["type"],
        body_format=apprise.NotifyFormat.TEXT,
    )
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
