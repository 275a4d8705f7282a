package dev.cutpoint.core.error;

/** Something the protocol does not allow. */
public class ProtocolException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public ProtocolException(String message) {
        super(message);
    }

    public ProtocolException(String message, Throwable cause) {
        super(message, cause);
    }
}
