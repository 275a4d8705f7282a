package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A place where the model can be cut. */
public final class Boundary {
    /** 0 is the input, the last is the output. */
    public final int index;
    /** What crosses it, in the order in which spans take and give them. */
    public final List<TensorSpec> tensors;
    /** The graph's own name of the place, for people. */
    public final String label;
    /** Multiply-accumulates from the input up to here; 0 where not counted. */
    public final long macs;
    /** Axis of its tensors along which slices are cut; null where none begin or end. */
    final Integer rowAxis;

    Boundary(JsonObject json) {
        index = json.int32("index");
        tensors = specs(json.objects("tensors", false));
        label = json.string("label", "");
        macs = json.integer("macs", 0);
        rowAxis = json.has("row_axis") ? Integer.valueOf(json.int32("row_axis")) : null;
        json.end();
    }

    /** Size of the tensors in bytes, uncompressed. */
    public long bytes() {
        long bytes = 0;
        for (TensorSpec tensor : tensors) {
            bytes += tensor.bytes();
        }
        return bytes;
    }

    /** Rows of its tensors; 0 where they have none. */
    int height() {
        return rowAxis == null ? 0 : tensors.get(0).shape()[rowAxis];
    }

    static List<TensorSpec> specs(List<JsonObject> objects) {
        List<TensorSpec> specs = new ArrayList<>();
        for (JsonObject json : objects) {
            String name = json.string("name");
            int[] shape = json.int32s("shape");
            ElementType type = ElementType.of(json.string("dtype"));
            json.end();
            if (type == null) {
                throw new BundleException("manifest.json: tensor '" + name + "' has an unknown element type");
            }
            double size = type.bytes();
            for (int side : shape) {
                size *= side;
                if (side < 1 || size > Integer.MAX_VALUE) {
                    throw new BundleException("manifest.json: tensor '" + name + "' has an impossible shape");
                }
            }
            specs.add(new TensorSpec(name, shape, type));
        }
        return Collections.unmodifiableList(specs);
    }
}
