package dev.cutpoint.core.client;

/** Hears how a request went: exactly one of the two, once; neither after it was cancelled. */
public interface InferenceListener {
    /** The answer is there. */
    void onResult(InferenceResult result);

    /** {@code error} is a {@link dev.cutpoint.core.error.CutpointException}, or what a runtime threw. */
    void onError(RuntimeException error);
}
