package dev.cutpoint.core.error;

/** This side tried to send it: a bug in the caller. Nothing was sent. */
public class LocalProtocolException extends ProtocolException {
    private static final long serialVersionUID = 1L;

    public LocalProtocolException(String message) {
        super(message);
    }
}
