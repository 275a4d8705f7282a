package dev.cutpoint.core.json;

/** Text that is not JSON, or not the JSON that was expected. Callers turn it into an exception of their own. */
public final class JsonException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    JsonException(String message) {
        super(message);
    }
}
