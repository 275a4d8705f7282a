package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

public final class Interpreter implements AutoCloseable {
    public Interpreter(ByteBuffer model, Options options) {
        throw new UnsupportedOperationException("a stub");
    }

    public int getInputTensorCount() {
        throw new UnsupportedOperationException("a stub");
    }

    public Tensor getInputTensor(int index) {
        throw new UnsupportedOperationException("a stub");
    }

    public int getOutputTensorCount() {
        throw new UnsupportedOperationException("a stub");
    }

    public Tensor getOutputTensor(int index) {
        throw new UnsupportedOperationException("a stub");
    }

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("a stub");
    }

    public static class Options {
        public Options setNumThreads(int threads) {
            throw new UnsupportedOperationException("a stub");
        }
    }
}
