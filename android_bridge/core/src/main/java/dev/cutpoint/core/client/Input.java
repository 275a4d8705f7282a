package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Manifest;
import dev.cutpoint.core.error.InputException;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.Collections;
import java.util.List;

/** What a request is about: a picture, or the tensors of boundary 0. */
final class Input {
    private final Picture picture;
    private final List<Tensor> tensors;

    Input(Picture picture) {
        this.picture = picture;
        this.tensors = null;
    }

    Input(List<Tensor> tensors) {
        this.picture = null;
        this.tensors = tensors;
    }

    /** The tensors of boundary 0. Throws {@link InputException} if this is not what the bundle takes. */
    List<Tensor> tensors(Manifest manifest) {
        List<TensorSpec> specs = manifest.boundaries.get(0).tensors;
        if (picture != null) {
            if (manifest.preprocessing == null) {
                throw new InputException("a picture was given, but the bundle takes " + specs);
            }
            return Collections.singletonList(Boundary0.of(picture, manifest.preprocessing));
        }
        for (int i = 0; i < Math.max(specs.size(), tensors.size()); i++) {
            if (i >= specs.size() || i >= tensors.size() || !specs.get(i).accepts(tensors.get(i))) {
                throw new InputException(tensors + " given, but the bundle takes " + specs);
            }
        }
        return tensors;
    }
}
