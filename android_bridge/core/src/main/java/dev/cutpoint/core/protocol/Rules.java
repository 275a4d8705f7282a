package dev.cutpoint.core.protocol;

import static dev.cutpoint.core.protocol.Role.CLIENT;
import static dev.cutpoint.core.protocol.Role.SERVER;

/**
 * The protocol's rules as tables: who may say what, when. One for the connection, one for each request on it; what is
 * not in a table is an error of whoever said it.
 */
final class Rules {
    static final int HELLO = 1;
    static final int WELCOME = 2;
    static final int OPENING = 3;
    static final int CHUNK = 4;
    static final int CANCEL = 5;
    static final int RESULT = 6;
    static final int FAILURE = 7;
    static final int PING = 8;
    static final int PONG = 9;
    static final int GOAWAY = 10;
    private static final int KINDS = 11;

    /** [state][who][kind] → next state, or null. A failure here is one about the connection. */
    private static final ConnectionState[][][] CONNECTION =
            new ConnectionState[ConnectionState.values().length][2][KINDS];
    /** [state][who][kind][whether the payload is complete with it] → next state, or null. */
    private static final RequestState[][][][] REQUEST = new RequestState[RequestState.values().length][2][KINDS][2];

    static {
        allow(ConnectionState.START, CLIENT, HELLO, ConnectionState.GREETED);
        allow(ConnectionState.START, SERVER, FAILURE, ConnectionState.CLOSED);
        allow(ConnectionState.GREETED, SERVER, WELCOME, ConnectionState.OPEN);
        allow(ConnectionState.GREETED, SERVER, FAILURE, ConnectionState.CLOSED);
        // A request may still arrive while draining: it was sent before the goaway was seen, and gets a refusal.
        for (ConnectionState up : new ConnectionState[] {ConnectionState.OPEN, ConnectionState.DRAINING}) {
            for (int kind : new int[] {OPENING, CHUNK, CANCEL, PING, PONG}) {
                allow(up, CLIENT, kind, up);
            }
            for (int kind : new int[] {RESULT, PING, PONG}) {
                allow(up, SERVER, kind, up);
            }
            allow(up, SERVER, FAILURE, ConnectionState.CLOSED);
        }
        allow(ConnectionState.OPEN, SERVER, GOAWAY, ConnectionState.DRAINING);

        allow(RequestState.NEW, CLIENT, OPENING, false, RequestState.UPLOADING);
        allow(RequestState.NEW, CLIENT, OPENING, true, RequestState.WAITING);
        allow(RequestState.UPLOADING, CLIENT, CHUNK, false, RequestState.UPLOADING);
        allow(RequestState.UPLOADING, CLIENT, CHUNK, true, RequestState.WAITING);
        allow(RequestState.UPLOADING, CLIENT, CANCEL, true, RequestState.CANCELLED);
        allow(RequestState.UPLOADING, SERVER, FAILURE, true, RequestState.DONE);
        allow(RequestState.WAITING, CLIENT, CANCEL, true, RequestState.CANCELLED);
        allow(RequestState.WAITING, SERVER, RESULT, true, RequestState.DONE);
        allow(RequestState.WAITING, SERVER, FAILURE, true, RequestState.DONE);
        allow(RequestState.CANCELLED, SERVER, RESULT, true, RequestState.DONE);
        allow(RequestState.CANCELLED, SERVER, FAILURE, true, RequestState.DONE);
    }

    private Rules() {}

    private static void allow(ConnectionState state, Role who, int kind, ConnectionState next) {
        CONNECTION[state.ordinal()][who.ordinal()][kind] = next;
    }

    private static void allow(RequestState state, Role who, int kind, boolean complete, RequestState next) {
        REQUEST[state.ordinal()][who.ordinal()][kind][complete ? 1 : 0] = next;
    }

    /** The connection's next state; null where the frame is not allowed. */
    static ConnectionState next(ConnectionState state, Role who, int kind) {
        return CONNECTION[state.ordinal()][who.ordinal()][kind];
    }

    /** The request's next state; null where the frame is not allowed. */
    static RequestState next(RequestState state, Role who, int kind, boolean complete) {
        return REQUEST[state.ordinal()][who.ordinal()][kind][complete ? 1 : 0];
    }
}
