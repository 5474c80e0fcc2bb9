import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.opentelemetry.api.baggage.propagation.W3CBaggagePropagator;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.context.propagation.TextMapPropagator;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/**
 * A service between others: it knows nothing of lineage, and passes on what its OpenTelemetry SDK does.
 *
 * <p>Hop URL: answers each request with what URL + path answers.
 */
public final class Hop {
    private static final Map<String, TextMapPropagator> KNOWN = Map.of(
            "tracecontext", W3CTraceContextPropagator.getInstance(),
            "baggage", W3CBaggagePropagator.getInstance());

    private final String next;
    private final Tracer tracer;
    private final TextMapPropagator propagator;
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private Hop(String next, OpenTelemetrySdk sdk) {
        this.next = next;
        this.tracer = sdk.getTracer("hop");
        this.propagator = sdk.getPropagators().getTextMapPropagator();
    }

    public static void main(String[] arguments) throws IOException {
        String names = System.getenv().getOrDefault("OTEL_PROPAGATORS", "tracecontext,baggage");
        List<TextMapPropagator> wanted = Arrays.stream(names.split(",")).map(KNOWN::get).toList();
        OpenTelemetrySdk sdk = OpenTelemetrySdk.builder()
                .setTracerProvider(SdkTracerProvider.builder().build())
                .setPropagators(ContextPropagators.create(TextMapPropagator.composite(wanted)))
                .build();
        Hop hop = new Hop(arguments[0], sdk);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", hop::handle);
        server.start();
        System.out.println(server.getAddress().getPort());
        while (System.in.read() >= 0) {} // Until who started it has gone.
        System.exit(0);
    }

    private void handle(HttpExchange exchange) throws IOException {
        Context context = propagator.extract(Context.root(), exchange, Headers.INSTANCE);
        Span span = tracer.spanBuilder("hop").setParent(context).startSpan();
        try (Scope current = context.with(span).makeCurrent()) {
            HttpRequest.Builder call = HttpRequest.newBuilder(URI.create(next + exchange.getRequestURI()));
            propagator.inject(Context.current(), call, HttpRequest.Builder::setHeader);
            HttpResponse<byte[]> answer = client.send(call.build(), HttpResponse.BodyHandlers.ofByteArray());
            byte[] body = answer.body();
            exchange.sendResponseHeaders(answer.statusCode(), body.length == 0 ? -1 : body.length);
            exchange.getResponseBody().write(body);
        } catch (InterruptedException error) {
            exchange.sendResponseHeaders(502, -1);
        } finally {
            span.end();
            exchange.close();
        }
    }

    private enum Headers implements TextMapGetter<HttpExchange> {
        INSTANCE;

        @Override
        public Iterable<String> keys(HttpExchange exchange) {
            return exchange.getRequestHeaders().keySet();
        }

        @Override
        public String get(HttpExchange exchange, String key) {
            return exchange.getRequestHeaders().getFirst(key);
        }

        @Override
        public Iterator<String> getAll(HttpExchange exchange, String key) {
            return exchange.getRequestHeaders().getOrDefault(key, List.of()).iterator();
        }
    }
}
