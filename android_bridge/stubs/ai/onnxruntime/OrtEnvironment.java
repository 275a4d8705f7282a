package ai.onnxruntime;

public final class OrtEnvironment {
    public static OrtEnvironment getEnvironment() {
        throw new UnsupportedOperationException("a stub");
    }

    public OrtSession createSession(byte[] model, OrtSession.SessionOptions options) throws OrtException {
        throw new UnsupportedOperationException("a stub");
    }

    public OrtSession createSession(String path, OrtSession.SessionOptions options) throws OrtException {
        throw new UnsupportedOperationException("a stub");
    }
}
