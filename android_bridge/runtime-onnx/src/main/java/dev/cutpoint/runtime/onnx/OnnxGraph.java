package dev.cutpoint.runtime.onnx;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A session of ONNX Runtime. */
final class OnnxGraph implements Graph {
    private final OrtEnvironment environment;
    private final OrtSession session;
    private final List<String> inputNames;

    OnnxGraph(OrtEnvironment environment, OrtSession session) {
        this.environment = environment;
        this.session = session;
        this.inputNames = new ArrayList<>(session.getInputNames());
    }

    @Override
    public List<String> inputNames() {
        return inputNames;
    }

    @Override
    public List<Tensor> run(List<Tensor> inputs) {
        Map<String, OnnxTensor> named = new LinkedHashMap<>();
        try {
            for (int i = 0; i < inputs.size(); i++) {
                named.put(inputNames.get(i), toOnnx(inputs.get(i)));
            }
            try (OrtSession.Result result = session.run(named)) {
                List<Tensor> outputs = new ArrayList<>();
                for (Map.Entry<String, OnnxValue> output : result) {
                    outputs.add(fromOnnx((OnnxTensor) output.getValue()));
                }
                return outputs;
            }
        } catch (OrtException error) {
            throw new GraphException("ONNX Runtime failed: " + error.getMessage(), error);
        } finally {
            named.values().forEach(OnnxTensor::close);
        }
    }

    @Override
    public void close() {
        try {
            session.close();
        } catch (OrtException error) {
            throw new GraphException("ONNX Runtime did not close its session: " + error.getMessage(), error);
        }
    }

    private OnnxTensor toOnnx(Tensor tensor) throws OrtException {
        ByteBuffer direct = ByteBuffer.allocateDirect(tensor.bytes()).order(ByteOrder.nativeOrder());
        direct.put(tensor.data());
        direct.flip();
        int[] shape = tensor.shape();
        long[] sides = new long[shape.length];
        for (int i = 0; i < sides.length; i++) {
            sides[i] = shape[i];
        }
        return OnnxTensor.createTensor(environment, direct, sides, typeOf(tensor.type()));
    }

    private static Tensor fromOnnx(OnnxTensor tensor) {
        long[] sides = tensor.getInfo().getShape();
        int[] shape = new int[sides.length];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = (int) sides[i];
        }
        ByteBuffer values = tensor.getByteBuffer(); // a copy: it outlives the session's memory
        return Tensor.of(typeOf(tensor.getInfo().type), values, shape);
    }

    private static OnnxJavaType typeOf(ElementType type) {
        switch (type) {
            case FLOAT32:
                return OnnxJavaType.FLOAT;
            case FLOAT64:
                return OnnxJavaType.DOUBLE;
            case FLOAT16:
                return OnnxJavaType.FLOAT16;
            case UINT8:
                return OnnxJavaType.UINT8;
            case INT8:
                return OnnxJavaType.INT8;
            case INT16:
                return OnnxJavaType.INT16;
            case INT32:
                return OnnxJavaType.INT32;
            case INT64:
                return OnnxJavaType.INT64;
            case BOOL:
                return OnnxJavaType.BOOL;
            default:
                throw new GraphException("ONNX Runtime for Java takes no tensors of type " + type.label());
        }
    }

    private static ElementType typeOf(OnnxJavaType type) {
        for (ElementType candidate : ElementType.values()) {
            if (candidate != ElementType.UINT16 && typeOf(candidate) == type) {
                return candidate;
            }
        }
        throw new GraphException("a graph gave a tensor of type " + type + ", which crosses no boundary");
    }
}
