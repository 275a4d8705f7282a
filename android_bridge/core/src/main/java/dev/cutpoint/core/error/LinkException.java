package dev.cutpoint.core.error;

/** There is no connection to the server, or it went away before the answer came. */
public class LinkException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public LinkException(String message) {
        super(message);
    }

    public LinkException(String message, Throwable cause) {
        super(message, cause);
    }
}
