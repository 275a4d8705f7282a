package ai.onnxruntime;

import java.util.Iterator;
import java.util.Map;
import java.util.Set;

public class OrtSession implements AutoCloseable {
    public Set<String> getInputNames() {
        throw new UnsupportedOperationException("a stub");
    }

    public Result run(Map<String, ? extends OnnxTensorLike> inputs) throws OrtException {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public void close() throws OrtException {
        throw new UnsupportedOperationException("a stub");
    }

    public static class SessionOptions implements AutoCloseable {
        public void setIntraOpNumThreads(int threads) throws OrtException {
            throw new UnsupportedOperationException("a stub");
        }

        @Override
        public void close() {
            throw new UnsupportedOperationException("a stub");
        }
    }

    public static class Result implements AutoCloseable, Iterable<Map.Entry<String, OnnxValue>> {
        @Override
        public Iterator<Map.Entry<String, OnnxValue>> iterator() {
            throw new UnsupportedOperationException("a stub");
        }

        @Override
        public void close() {
            throw new UnsupportedOperationException("a stub");
        }
    }
}
