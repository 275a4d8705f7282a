package dev.cutpoint.core.error;

/** A picture, tensor or option that the caller gave cannot be used. */
public class InputException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public InputException(String message) {
        super(message);
    }
}
