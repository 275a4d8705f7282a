package org.tensorflow.lite;

public interface Tensor {
    String name();

    int[] shape();

    int numBytes();

    DataType dataType();
}
