package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

public final class Interpreter implements AutoCloseable {
    public Interpreter(ByteBuffer model, Options options) {
        throw new UnsupportedOperationException("a stub");
    }

    public void allocateTensors() {
        throw new UnsupportedOperationException("a stub");
    }

    public String[] getSignatureKeys() {
        throw new UnsupportedOperationException("a stub");
    }

    public String[] getSignatureInputs(String signature) {
        throw new UnsupportedOperationException("a stub");
    }

    public String[] getSignatureOutputs(String signature) {
        throw new UnsupportedOperationException("a stub");
    }

    public Tensor getInputTensorFromSignature(String input, String signature) {
        throw new UnsupportedOperationException("a stub");
    }

    public Tensor getOutputTensorFromSignature(String output, String signature) {
        throw new UnsupportedOperationException("a stub");
    }

    public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String signature) {
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
