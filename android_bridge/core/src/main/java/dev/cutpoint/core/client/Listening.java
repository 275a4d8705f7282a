package dev.cutpoint.core.client;

import dev.cutpoint.core.error.CutpointException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** Tells a listener what a future came to. */
final class Listening {
    private Listening() {}

    static void to(CompletableFuture<InferenceResult> answer, Executor executor, InferenceListener listener) {
        answer.whenComplete((result, error) -> {
            if (!answer.isCancelled()) {
                executor.execute(() -> tell(result, error, listener));
            }
        });
    }

    static void tell(InferenceResult result, Throwable error, InferenceListener listener) {
        if (error == null) {
            listener.onResult(result);
        } else if (error instanceof RuntimeException) {
            listener.onError((RuntimeException) error);
        } else {
            listener.onError(new CutpointException(error.toString(), error));
        }
    }
}
