#!/usr/bin/env python3
"""Succeed when the Kafka broker at HOST PORT answers a metadata request, lists itself as alive and
belongs to the cluster CLUSTER_ID (so that a foreign broker on the same port is not taken for ours).

Speaks the protocol by hand, so that waiting for a broker needs no client library and no second JVM.
"""

import socket
import struct
import sys

METADATA, VERSION, CORRELATION = 3, 2, 7


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ConnectionError("not a metadata response")
        self.at += count
        return part

    def i16(self):
        return struct.unpack(">h", self.take(2))[0]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def text(self):
        size = self.i16()
        return None if size < 0 else self.take(size).decode()


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("the broker closed the connection")
        data += part
    return data


def metadata(host, port):
    """The ports of the brokers alive, and the cluster id."""
    client = b"ready"
    request = struct.pack(">hhih", METADATA, VERSION, CORRELATION, len(client)) + client
    request += struct.pack(">i", 0)  # no topics: brokers only
    with socket.create_connection((host, port), timeout=2) as sock:
        sock.settimeout(2)
        sock.sendall(struct.pack(">i", len(request)) + request)
        response = Reader(exactly(sock, Reader(exactly(sock, 4)).i32()))
    if response.i32() != CORRELATION:
        raise ConnectionError("not a metadata response")
    ports = []
    for _ in range(response.i32()):
        response.i32()  # node id
        response.text()  # host
        ports.append(response.i32())
        response.text()  # rack
    return ports, response.text()


def main():
    host, port, cluster_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    try:
        ports, found = metadata(host, port)
    except (OSError, UnicodeDecodeError):
        return 1
    return 0 if port in ports and found == cluster_id else 1


sys.exit(main())
