#!/usr/bin/env python3
"""A collector of traces that takes only what OpenTelemetry's own schema takes.

    otlp.py HOST:PORT FILE  answers POST /v1/traces; appends the name of each span and its trace to FILE
    otlp.py --check FILE    whether FILE has the whole way of a segment

The JSON form of the protocol writes identities in hexadecimal digits, that of protobuf in base 64; everything else is the same.
"""

import base64
import http.server
import json
import pathlib
import sys
from collections import defaultdict

WAY = {"segment", "capture", "close", "inference", "inference.sink", "sink"}


def as_protobuf(value):
    """The same message with its identities in base 64."""
    if isinstance(value, list):
        return [as_protobuf(item) for item in value]
    if not isinstance(value, dict):
        return value
    identity = ("traceId", "spanId", "parentSpanId")
    return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in identity else as_protobuf(v) for k, v in value.items()}


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        from google.protobuf import json_format
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        request = json_format.ParseDict(as_protobuf(json.loads(body)), ExportTraceServiceRequest())
        with open(sys.argv[2], "a") as file:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        sound = len(span.trace_id) == 16 and len(span.span_id) == 8
                        sound = sound and span.start_time_unix_nano <= span.end_time_unix_nano
                        file.write(f"{span.trace_id.hex()} {span.name if sound else 'unsound'}\n")
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def check(file):
    traces = defaultdict(set)
    for line in pathlib.Path(file).read_text().splitlines():
        trace, name = line.split()
        traces[trace].add(name)
    unknown = set().union(*traces.values()) - WAY
    whole = sum(names == WAY for names in traces.values())
    if unknown or not whole:
        raise SystemExit(f"otlp: {len(traces)} traces, {whole} whole, unknown {unknown}")
    print(f"otlp: {len(traces)} traces, {whole} of them from capture to sink")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        host, port = sys.argv[1].split(":")
        server = http.server.ThreadingHTTPServer((host, int(port)), Collector)
        print("collecting", flush=True)
        server.serve_forever()
