package dev.cutpoint.core.error;

/** Entropy tables that are malformed. */
public class TableException extends CodecException {
    private static final long serialVersionUID = 1L;

    public TableException(String message) {
        super(message);
    }

    public TableException(String message, Throwable cause) {
        super(message, cause);
    }
}
