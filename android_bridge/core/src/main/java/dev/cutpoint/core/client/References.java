package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Of a stream: by codec and level, the symbols of the last frame that the server answered. For the loop's thread. */
final class References {
    private final Map<String, List<Tensor>> symbols = new HashMap<>();

    List<Tensor> get(Point point) {
        return symbols.get(key(point));
    }

    void put(Point point, List<Tensor> answered) {
        symbols.put(key(point), answered);
    }

    private static String key(Point point) {
        return point.level + " " + point.codec;
    }
}
