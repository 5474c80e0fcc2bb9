"""A service between others: it knows nothing of lineage, and passes on what its OpenTelemetry SDK does.

hop.py URL      answers each request with what URL + path answers
"""

import http.client
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider

from leave import leave_with_parent

# It quotes headers that are too long, each time.
logging.getLogger("opentelemetry").setLevel(logging.ERROR)
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("hop")
next_service = urlsplit(sys.argv[1])


class Hop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections = threading.local()

    def do_GET(self):
        incoming = {}
        for name, value in self.headers.items():
            incoming.setdefault(name.lower(), []).append(value)
        context = propagate.extract(incoming)
        with tracer.start_as_current_span("hop", context=context) as span:
            outgoing = {}
            propagate.inject(outgoing, trace.set_span_in_context(span, context))
            status, body = self.ask(self.path, outgoing)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ask(self, path, headers):
        connection = getattr(self.connections, "next", None)
        if connection is None:
            connection = http.client.HTTPConnection(next_service.hostname, next_service.port)
            self.connections.next = connection
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Hop)
server.daemon_threads = True
leave_with_parent()
print(server.server_address[1], flush=True)
server.serve_forever()
