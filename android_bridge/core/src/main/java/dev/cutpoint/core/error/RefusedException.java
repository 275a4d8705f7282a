package dev.cutpoint.core.error;

/** The server answered with a typed error. */
public class RefusedException extends CutpointException {
    private static final long serialVersionUID = 1L;

    private final Refusal refusal;
    private final Double retryAfter;

    /**
     * @param refusal which error it is
     * @param message for people
     * @param retryAfter seconds after which trying again makes sense; null where it does not
     */
    public RefusedException(Refusal refusal, String message, Double retryAfter) {
        super(message);
        this.refusal = refusal;
        this.retryAfter = retryAfter;
    }

    /** The exception for an error frame. A code from a newer server becomes {@link Refusal#OTHER}. */
    public static RefusedException of(String code, String message, Double retryAfter) {
        Refusal refusal = Refusal.of(code);
        return new RefusedException(refusal, refusal == Refusal.OTHER ? code + ": " + message : message, retryAfter);
    }

    /** Which error it is. */
    public Refusal refusal() {
        return refusal;
    }

    /** Seconds after which trying again makes sense; null where it does not. */
    public Double retryAfter() {
        return retryAfter;
    }
}
