package dev.cutpoint.core.client;

import dev.cutpoint.core.error.InputException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * A sequence of pictures, answered in their order. Made for cameras: a frame that comes too early is refused, not
 * queued.
 */
public final class FrameStream implements AutoCloseable {
    private final CutpointClient client;
    private final int inFlight;
    private final Executor executor;
    private final InferenceListener listener;
    private final References references = new References();
    private final Deque<CompletableFuture<InferenceResult>> underWay = new ArrayDeque<>();
    private boolean telling;
    private boolean closed;

    FrameStream(CutpointClient client, int inFlight, Executor executor, InferenceListener listener) {
        if (inFlight < 1) {
            throw new InputException("inFlight must be at least 1, not " + inFlight);
        }
        this.client = client;
        this.inFlight = inFlight;
        this.executor = executor;
        this.listener = listener;
    }

    /** Whether {@link #offer} would take a frame now: ask before converting one. */
    public synchronized boolean hasRoom() {
        return !closed && underWay.size() < inFlight;
    }

    /** Takes a frame; false, and the frame is dropped, if as many as may be are under way or the stream is closed. */
    public boolean offer(Picture picture) {
        CompletableFuture<InferenceResult> answer;
        synchronized (this) {
            if (!hasRoom()) {
                return false;
            }
            answer = client.begin(picture, references);
            underWay.add(answer);
        }
        answer.whenComplete((result, error) -> executor.execute(this::tell));
        return true;
    }

    /** Tells the listener of the frames that are done, as far as none before them is still under way. */
    private void tell() {
        while (true) {
            CompletableFuture<InferenceResult> answer;
            synchronized (this) {
                answer = underWay.peek();
                if (telling || closed || answer == null || !answer.isDone()) {
                    return;
                }
                telling = true;
                underWay.remove();
            }
            try {
                answer.whenComplete((result, error) -> Listening.tell(result, error, listener));
            } finally {
                synchronized (this) {
                    telling = false;
                }
            }
        }
    }

    /** Takes no more frames, and cancels those under way; the listener hears nothing more of them. */
    @Override
    public void close() {
        CompletableFuture<?>[] left;
        synchronized (this) {
            closed = true;
            left = underWay.toArray(new CompletableFuture<?>[0]);
            underWay.clear();
        }
        for (CompletableFuture<?> answer : left) {
            answer.cancel(false);
        }
    }
}
