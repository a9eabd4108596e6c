"""What is written down of one frame, and the names of the transports. Pure."""

import msgspec

TCP, GRPC, MQTT = "TCP", "gRPC", "MQTT, "
"""Names of transports; behind `MQTT` stands which broker."""
ENGINES = ("amqtt", "mosquitto")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One frame by one transport.

    Attributes:
        link, arm, transport: how it was played.
        repetition, number: which frame; the same ones make the same picture.
        total_ms: from the picture to the answer in hand.
        front_ms: of those, until the request was written: preprocessing, head, codec, message.
        edge_ms: decoding and tail, as the answering process says.
        way_ms: the rest: all that the transport and the link took, threads and messages over there included.
        request_bytes: of the message.
        top: the answer.
    """

    link: str
    arm: str
    transport: str
    repetition: int
    number: int
    total_ms: float
    front_ms: float
    edge_ms: float
    way_ms: float
    request_bytes: int
    top: int
