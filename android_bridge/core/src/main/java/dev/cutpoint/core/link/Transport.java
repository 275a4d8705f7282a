package dev.cutpoint.core.link;

/** Opens WebSockets. Internal: {@link OkHttpTransport} is the real one. */
public interface Transport {
    /**
     * Begins to connect; the listener hears how it goes, on any thread.
     *
     * @param subprotocol the WebSocket subprotocol to ask for
     */
    Socket connect(String subprotocol, Listener listener);

    /** One WebSocket. */
    interface Socket {
        /** Queues a binary message; false if that is not possible any more, or too much is queued already. */
        boolean send(byte[] message);

        /** Ends the connection at once. */
        void close();
    }

    /** What happens on one WebSocket. After {@link #ended} nothing does. */
    interface Listener {
        void opened();

        void message(byte[] data);

        /** The other side closed it, it broke, or it never came to be. */
        void ended(String reason);
    }
}
