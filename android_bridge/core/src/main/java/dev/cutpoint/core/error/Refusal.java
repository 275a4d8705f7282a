package dev.cutpoint.core.error;

/** Why a server refuses a request or a connection: the error codes of the protocol. */
public enum Refusal {
    /** The token is missing or wrong. */
    UNAUTHENTICATED("unauthenticated", true),
    /** The server speaks no protocol version that the client does. */
    VERSION_MISMATCH("version_mismatch", true),
    /** The server does not hold the client's bundle. */
    BUNDLE_MISMATCH("bundle_mismatch", true),
    /** The server could not understand a frame. */
    BAD_REQUEST("bad_request", false),
    /** The request names a point that the bundle does not have, or that needs no server. */
    UNKNOWN_POINT("unknown_point", false),
    /** The payload does not decode: damaged, truncated, or of another size than announced. */
    BAD_PAYLOAD("bad_payload", false),
    /** A frame of a stream refers to one that the server has not kept. The client sends a key frame by itself. */
    REFERENCE_LOST("reference_lost", false),
    /** A frame or payload is over the server's limit. */
    TOO_LARGE("too_large", false),
    /** The server has no room for the request now; {@link RefusedException#retryAfter()} says when it may. */
    OVERLOADED("overloaded", false),
    /** The request's time budget ran out before an answer. */
    DEADLINE_EXCEEDED("deadline_exceeded", false),
    /** The server is going away and takes no new requests. */
    DRAINING("draining", false),
    /** The server failed; its log says why. */
    INTERNAL("internal", false),
    /** A code that this version does not know, from a newer server. */
    OTHER("", false);

    private final String code;
    private final boolean fatal;

    Refusal(String code, boolean fatal) {
        this.code = code;
        this.fatal = fatal;
    }

    /** The error's name on the wire. */
    public String code() {
        return code;
    }

    /** Whether connecting again with the same settings is pointless. */
    public boolean isFatal() {
        return fatal;
    }

    /** The refusal of that name on the wire; {@link #OTHER} for an unknown one. */
    public static Refusal of(String code) {
        for (Refusal refusal : values()) {
            if (refusal.code.equals(code)) {
                return refusal;
            }
        }
        return OTHER;
    }
}
