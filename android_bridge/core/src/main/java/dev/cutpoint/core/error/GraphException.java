package dev.cutpoint.core.error;

/** A runtime refused a graph file, or failed while running it. */
public class GraphException extends CutpointException {
    private static final long serialVersionUID = 1L;

    public GraphException(String message) {
        super(message);
    }

    public GraphException(String message, Throwable cause) {
        super(message, cause);
    }
}
