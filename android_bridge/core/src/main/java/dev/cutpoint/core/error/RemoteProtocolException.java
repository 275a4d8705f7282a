package dev.cutpoint.core.error;

/** The other side sent what the protocol does not allow. */
public class RemoteProtocolException extends ProtocolException {
    private static final long serialVersionUID = 1L;

    private final String code;

    /**
     * @param message for people
     * @param code what an error frame says about it, for instance {@code bad_request}
     */
    public RemoteProtocolException(String message, String code) {
        super(message);
        this.code = code;
    }

    public RemoteProtocolException(String message) {
        this(message, "bad_request");
    }

    public RemoteProtocolException(String message, Throwable cause) {
        super(message, cause);
        this.code = "bad_request";
    }

    /** What an error frame says about it. */
    public String code() {
        return code;
    }
}
