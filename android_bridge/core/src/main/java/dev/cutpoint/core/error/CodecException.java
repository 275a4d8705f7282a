package dev.cutpoint.core.error;

/** A codec cannot do what was asked of it: an unknown codec, a level it does not have, a tensor of another shape. */
public class CodecException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public CodecException(String message) {
        super(message);
    }

    public CodecException(String message, Throwable cause) {
        super(message, cause);
    }
}
