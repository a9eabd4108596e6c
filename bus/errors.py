"""The errors of CANS, one tree.

::

    CansError
    ├── ConfigurationError      what a person set cannot work: one sentence, exit code 2
    │   ├── BrokerUnreachable   nobody listens at that address
    │   │   └── BrokerBusy      somebody does, but did not finish the connection: worth another attempt
    │   └── BrokerRefused       the broker said no: password, certificate, identity, protocol
    ├── LocalProtocolError      this side asked for something the protocol forbids: a bug here
    │   └── PayloadTooLarge     checked before the write; carries size and limit
    ├── RemoteProtocolError     a peer sent something wrong: counted, dropped, never ends a process
    └── LinkError               the link failed; the caller may try again, handling twice is safe
        ├── LinkLost            the connection ended before the operation was known to be done
        └── PublishRefused      the broker acknowledged a publish with a failure code

Whoever decodes bytes from the wire catches exactly one type: `RemoteProtocolError`.
"""

from typing import Literal, get_args

RemoteFault = Literal[
    "malformed",  # not decodable, or a field outside its limits
    "too_large",  # more bytes than the topic's limit
    "unknown_kind",  # a message kind this version does not know
    "version",  # a schema version this side does not speak
    "tensor",  # dtype, shape or byte count of a tensor do not agree
    "not_finite",  # NaN or infinity where a number must be
    "implausible",  # statistics outside the bounds that honest ones obey
    "wrong_sender",  # the message names another device than its topic
    "foreign",  # made for another model, or another context schema
]
REMOTE_FAULTS: tuple[RemoteFault, ...] = get_args(RemoteFault)


class CansError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigurationError(CansError):
    """What a person configured cannot work; the message is one sentence that says what to do."""


class BrokerUnreachable(ConfigurationError):  # noqa: N818 - reads as the state of the broker
    """Nobody answered at the broker's address."""


class BrokerBusy(BrokerUnreachable):
    """The broker is there, but the connection was not finished: it may be at the next attempt."""


class BrokerRefused(ConfigurationError):  # noqa: N818 - as above
    """The broker answered and said no."""


class LocalProtocolError(CansError):
    """This side asked for something that the protocol forbids."""


class PayloadTooLarge(LocalProtocolError):  # noqa: N818 - names the condition, as its fields do
    """A payload larger than its topic or the broker allows; nothing was written.

    Attributes:
        size_bytes: what was to be sent.
        limit_bytes: what may be sent.
    """

    def __init__(self, size_bytes: int, limit_bytes: int, topic: str) -> None:
        super().__init__(
            f"payload of {size_bytes} bytes for {topic} is over the limit of {limit_bytes} bytes"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        self.topic = topic


class RemoteProtocolError(CansError):
    """A peer sent something wrong.

    Attributes:
        fault: which kind of wrong, the name of the counter in `metrics`.
        detail: one sentence for the log.
    """

    def __init__(self, fault: RemoteFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: RemoteFault = fault
        self.detail = detail


class LinkError(CansError):
    """The link to the broker failed."""


class LinkLost(LinkError):  # noqa: N818 - an event as much as an error
    """The connection ended before the operation was known to be done; it may or may not have been."""


class PublishRefused(LinkError):  # noqa: N818 - as above
    """The broker acknowledged a publish with a failure code (MQTT 5, section 3.4.2.1).

    Attributes:
        reason_code: MQTT 5 reason code; 0x87 is "not authorized".
    """

    def __init__(self, topic: str, reason_code: int) -> None:
        super().__init__(f"the broker refused a publish to {topic} with reason code 0x{reason_code:02x}")
        self.topic = topic
        self.reason_code = reason_code
