package dev.cutpoint.core.error;

/** Bytes that no encoder wrote: truncated, damaged, or made with other tables. */
public class BitstreamException extends CodecException {
    private static final long serialVersionUID = 1L;

    public BitstreamException(String message) {
        super(message);
    }
}
