package dev.cutpoint.core.error;

/** A bundle is damaged, incomplete, too new, or not what was asked for. Names the file and the reason. */
public class BundleException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public BundleException(String message) {
        super(message);
    }

    public BundleException(String message, Throwable cause) {
        super(message, cause);
    }
}
