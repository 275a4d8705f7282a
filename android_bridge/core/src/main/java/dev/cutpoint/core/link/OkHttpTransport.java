package dev.cutpoint.core.link;

import dev.cutpoint.core.error.InputException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/** WebSockets of OkHttp, by what 3.13 and all later versions have in common. */
public final class OkHttpTransport implements Transport {
    /** OkHttp ends a connection with more than 16 MiB queued; we stop short of that. */
    private static final long MAX_QUEUED = 15L << 20;

    private final OkHttpClient client;
    private final Request address;

    /**
     * @param client the app's, whose threads and certificates are used; its time-outs are not
     * @param url {@code ws://host:port} or {@code wss://…}; a path may follow
     * @param connectTimeout seconds
     * @throws InputException if it is not such an address
     */
    public OkHttpTransport(OkHttpClient client, String url, double connectTimeout) {
        if (!url.startsWith("ws://") && !url.startsWith("wss://")) {
            throw new InputException("'" + url + "' is not a server's address: it starts with ws:// or wss://");
        }
        try {
            this.address = new Request.Builder().url(url).build();
        } catch (IllegalArgumentException error) {
            throw new InputException("'" + url + "' is not a server's address: " + error.getMessage());
        }
        this.client = client.newBuilder()
                .connectTimeout((long) (connectTimeout * 1e3), TimeUnit.MILLISECONDS)
                .socketFactory(new NoDelaySocketFactory(client.socketFactory()))
                .build();
    }

    @Override
    public Socket connect(String subprotocol, Listener listener) {
        Request request = address.newBuilder().header("Sec-WebSocket-Protocol", subprotocol).build();
        WebSocket socket = client.newWebSocket(request, new Adapter(listener));
        return new Socket() {
            @Override
            public boolean send(byte[] message) {
                return socket.queueSize() + message.length <= MAX_QUEUED && socket.send(ByteString.of(message));
            }

            @Override
            public void close() {
                socket.cancel(); // the closing handshake would wait for a server that may be gone
            }
        };
    }

    private static final class Adapter extends WebSocketListener {
        private final Listener listener;
        private final AtomicBoolean ended = new AtomicBoolean();

        Adapter(Listener listener) {
            this.listener = listener;
        }

        @Override
        public void onOpen(WebSocket socket, Response response) {
            listener.opened();
        }

        @Override
        public void onMessage(WebSocket socket, ByteString bytes) {
            listener.message(bytes.toByteArray());
        }

        @Override
        public void onMessage(WebSocket socket, String text) {
            end("a text message arrived; frames are binary");
            socket.cancel();
        }

        @Override
        public void onClosing(WebSocket socket, int code, String reason) {
            end("the server closed the connection (" + code + ")");
            socket.close(code == 1005 || code == 1006 ? 1000 : code, null);
        }

        @Override
        public void onFailure(WebSocket socket, Throwable error, Response response) {
            end(response == null ? error.toString() : "the server answered " + response.code());
        }

        private void end(String reason) {
            if (ended.compareAndSet(false, true)) {
                listener.ended(reason);
            }
        }
    }
}
