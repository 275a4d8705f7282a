package dev.cutpoint.runtime.litert;

import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;

/**
 * An interpreter of LiteRT. Tensors are ordered by their names in the signature ({@code args_0}, {@code args_1}, … and
 * {@code output_0}, …), because the order within the file is the converter's own.
 */
final class LiteRtGraph implements Graph {
    private final Interpreter interpreter;
    private final String signature;
    private final List<String> inputNames;
    private final List<String> outputNames;

    LiteRtGraph(Interpreter interpreter) {
        String[] signatures = interpreter.getSignatureKeys();
        if (signatures.length != 1) {
            throw new GraphException(
                    "a .tflite graph with " + signatures.length + " signatures; exactly one is expected");
        }
        this.interpreter = interpreter;
        signature = signatures[0];
        inputNames = sorted(interpreter.getSignatureInputs(signature));
        outputNames = sorted(interpreter.getSignatureOutputs(signature));
    }

    /** {@code args_10} behind {@code args_2}. */
    private static List<String> sorted(String[] names) {
        String[] copy = names.clone();
        Arrays.sort(copy, Comparator.comparingInt(String::length).thenComparing(Comparator.naturalOrder()));
        return Arrays.asList(copy);
    }

    @Override
    public List<String> inputNames() {
        return inputNames;
    }

    @Override
    public List<Tensor> run(List<Tensor> inputs) {
        if (inputs.size() != inputNames.size()) {
            throw new GraphException("the graph takes " + inputNames + ", but " + inputs.size() + " tensors are given");
        }
        Map<String, Object> values = new HashMap<>();
        for (int i = 0; i < inputs.size(); i++) {
            values.put(inputNames.get(i), toLiteRt(inputNames.get(i), inputs.get(i)));
        }
        Map<String, Object> outputs = new HashMap<>();
        for (String name : outputNames) {
            outputs.put(name, direct(interpreter.getOutputTensorFromSignature(name, signature).numBytes()));
        }
        try {
            interpreter.runSignature(values, outputs, signature);
        } catch (IllegalArgumentException | IllegalStateException error) {
            throw new GraphException("LiteRT failed: " + error.getMessage(), error);
        }
        List<Tensor> made = new ArrayList<>();
        for (String name : outputNames) {
            ByteBuffer data = (ByteBuffer) outputs.get(name);
            data.rewind();
            org.tensorflow.lite.Tensor described = interpreter.getOutputTensorFromSignature(name, signature);
            made.add(Tensor.of(typeOf(described.dataType()), data, described.shape()));
        }
        return made;
    }

    /** The values as the interpreter takes them. Converters narrow int64 inputs, such as a codec's level. */
    private ByteBuffer toLiteRt(String name, Tensor tensor) {
        DataType wanted = interpreter.getInputTensorFromSignature(name, signature).dataType();
        boolean narrows = tensor.type() == ElementType.INT64 && wanted == DataType.INT32;
        ByteBuffer direct = direct(narrows ? tensor.bytes() / 2 : tensor.bytes());
        if (narrows) {
            for (ByteBuffer wide = tensor.data(); wide.hasRemaining(); ) {
                direct.putInt((int) wide.getLong());
            }
        } else {
            direct.put(tensor.data());
        }
        direct.rewind();
        return direct;
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
