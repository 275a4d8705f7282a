package dev.cutpoint.core.error;

/** Symbols whose shape or type does not belong to their entropy model. */
public class SymbolException extends CodecException {
    private static final long serialVersionUID = 1L;

    public SymbolException(String message) {
        super(message);
    }
}
