package dev.cutpoint.core.client;

import dev.cutpoint.core.tensor.Tensor;
import java.util.List;

/** What came of a request on the device. */
final class DeviceOutput {
    /** The bytes to send; null for a local point. */
    final byte[] payload;
    /** What the payload stands for, where the codec can refer to it later; null otherwise. */
    final List<Tensor> symbols;
    /** The model's outputs; null unless the point is local. */
    final List<Tensor> outputs;
    /** The tensors of boundary 0. */
    final List<Tensor> input;
    final double prepareMs;
    /** Time in the head, or the whole model. */
    final double headMs;
    final double encodeMs;

    DeviceOutput(
            byte[] payload,
            List<Tensor> symbols,
            List<Tensor> outputs,
            List<Tensor> input,
            double prepareMs,
            double headMs,
            double encodeMs) {
        this.payload = payload;
        this.symbols = symbols;
        this.outputs = outputs;
        this.input = input;
        this.prepareMs = prepareMs;
        this.headMs = headMs;
        this.encodeMs = encodeMs;
    }
}
