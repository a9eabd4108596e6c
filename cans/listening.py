"""How a process that only listens comes to a broker: as a watcher, under a name of its own each time."""

import secrets
from collections.abc import Sequence

from bus.connection import Endpoint
from bus.topics import Address, Topic, topics_below


def require_named(address: Address, **said: str) -> None:
    """Refuse a message whose fields are not those of its topic, which alone the broker's ACL binds.

    Raises:
        ValueError: it was said in another's name.
    """
    for field, value in said.items():
        if address.fields[field] != value:
            raise ValueError(f"said of {value} on the topic of {address.fields[field]}")


def listener(
    name: str, prefix: str, rows: Sequence[Topic], *, queued: int, more: Sequence[tuple[str, int]] = ()
) -> Endpoint:
    """Return who connects.

    Args:
        name: of the client, before letters that are drawn.
        prefix: of the site's topics.
        rows: of the table that it subscribes to, for every node.
        queued: messages that wait to be taken in; see `Endpoint.queue_limit`.
        more: topic filters besides, with their QoS.
    """
    topics = topics_below(prefix)
    filters = (*((topics.filter(row), row.qos) for row in rows), *more)
    return Endpoint(client_id=f"{name}-{secrets.token_hex(4)}", subscriptions=filters, queue_limit=queued)
