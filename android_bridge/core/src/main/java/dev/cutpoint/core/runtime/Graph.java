package dev.cutpoint.core.runtime;

import dev.cutpoint.core.tensor.Tensor;
import java.util.List;

/** A loaded graph. Called by one thread at a time. */
public interface Graph extends AutoCloseable {
    /** Names in the order in which {@link #run} takes its tensors. */
    List<String> inputNames();

    /**
     * Runs the graph once.
     *
     * @return the outputs in the graph's order; they stay valid after the next run
     * @throws dev.cutpoint.core.error.GraphException if the runtime fails, for instance on an input of another shape
     */
    List<Tensor> run(List<Tensor> inputs);

    /** Frees what the runtime holds outside the Java heap. */
    @Override
    void close();
}
