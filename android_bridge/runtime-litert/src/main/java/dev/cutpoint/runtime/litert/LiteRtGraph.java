package dev.cutpoint.runtime.litert;

import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;

/** An interpreter of LiteRT. */
final class LiteRtGraph implements Graph {
    private final Interpreter interpreter;
    private final List<String> inputNames = new ArrayList<>();

    LiteRtGraph(Interpreter interpreter) {
        this.interpreter = interpreter;
        for (int i = 0; i < interpreter.getInputTensorCount(); i++) {
            inputNames.add(baseName(interpreter.getInputTensor(i).name()));
        }
    }

    /** Converters prefix the signature and append the number of the output: {@code serving_default_level:0}. */
    private static String baseName(String name) {
        String base = name.replaceFirst(":\\d+$", "");
        return base.startsWith("serving_default_") ? base.substring("serving_default_".length()) : base;
    }

    @Override
    public List<String> inputNames() {
        return inputNames;
    }

    @Override
    public List<Tensor> run(List<Tensor> inputs) {
        Object[] values = new Object[inputs.size()];
        for (int i = 0; i < values.length; i++) {
            ByteBuffer direct = direct(inputs.get(i).bytes());
            direct.put(inputs.get(i).data());
            direct.flip();
            values[i] = direct;
        }
        Map<Integer, Object> outputs = new HashMap<>();
        for (int i = 0; i < interpreter.getOutputTensorCount(); i++) {
            outputs.put(i, direct(interpreter.getOutputTensor(i).numBytes()));
        }
        try {
            interpreter.runForMultipleInputsOutputs(values, outputs);
        } catch (IllegalArgumentException error) {
            throw new GraphException("LiteRT failed: " + error.getMessage(), error);
        }
        List<Tensor> made = new ArrayList<>();
        for (int i = 0; i < outputs.size(); i++) {
            ByteBuffer data = (ByteBuffer) outputs.get(i);
            data.rewind();
            org.tensorflow.lite.Tensor described = interpreter.getOutputTensor(i);
            made.add(Tensor.of(typeOf(described.dataType()), data, described.shape()));
        }
        return made;
    }

    @Override
    public void close() {
        interpreter.close();
    }

    private static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    private static ElementType typeOf(DataType type) {
        switch (type) {
            case FLOAT32:
                return ElementType.FLOAT32;
            case UINT8:
                return ElementType.UINT8;
            case INT8:
                return ElementType.INT8;
            case INT16:
                return ElementType.INT16;
            case INT32:
                return ElementType.INT32;
            case INT64:
                return ElementType.INT64;
            case BOOL:
                return ElementType.BOOL;
            default:
                throw new GraphException("a graph gave a tensor of type " + type + ", which crosses no boundary");
        }
    }
}
