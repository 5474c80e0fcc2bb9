// A service between others: it knows nothing of lineage, and passes on what its OpenTelemetry SDK does.
//
//   hop.js URL      answers each request with what URL + path answers

const { W3CBaggagePropagator, W3CTraceContextPropagator, CompositePropagator } = require("@opentelemetry/core");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

const known = { tracecontext: W3CTraceContextPropagator, baggage: W3CBaggagePropagator };
const names = (process.env.OTEL_PROPAGATORS ?? "tracecontext,baggage").split(",");
const propagator = new CompositePropagator({ propagators: names.map((name) => new known[name]()) });
new NodeTracerProvider().register({ propagator });
registerInstrumentations({ instrumentations: [new HttpInstrumentation()] });

const http = require("node:http"); // After the instrumentation, which replaces parts of it.
const next = process.argv[2];

const server = http.createServer((request, response) => {
  request.resume();
  const call = http.get(next + request.url, (answer) => {
    response.writeHead(answer.statusCode, { "content-type": "text/plain" });
    answer.pipe(response);
  });
  call.on("error", (error) => response.writeHead(502).end(String(error)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume(); // Who started it has gone.
