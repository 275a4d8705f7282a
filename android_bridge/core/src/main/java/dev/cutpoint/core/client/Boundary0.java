package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Preprocessing;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Pictures into boundary 0: the geometry of {@link Preprocessing}. */
final class Boundary0 {
    private Boundary0() {}

    /** uint8 of shape (1, height, width, 3), RGB. */
    static Tensor of(Picture picture, Preprocessing how) {
        Picture fitted = fit(picture, how);
        return Tensor.of(ElementType.UINT8, ByteBuffer.wrap(fitted.rgb), 1, how.height, how.width, 3);
    }

    static Picture fit(Picture picture, Preprocessing how) {
        if (picture.width == how.width && picture.height == how.height) {
            return picture;
        }
        if (how.letterbox) {
            return letterbox(picture, how);
        }
        if (how.resize > 0) {
            return resizeAndCrop(picture, how);
        }
        return Resampling.resize(picture, how.width, how.height, how.bicubic);
    }

    private static Picture resizeAndCrop(Picture picture, Preprocessing how) {
        double scale = (double) how.resize / Math.min(picture.width, picture.height);
        int width = Math.max(how.resize, (int) Math.rint(picture.width * scale));
        int height = Math.max(how.resize, (int) Math.rint(picture.height * scale));
        Picture resized = Resampling.resize(picture, width, height, how.bicubic);
        return resized.cropped((width - how.width) / 2, (height - how.height) / 2, how.width, how.height);
    }

    private static Picture letterbox(Picture picture, Preprocessing how) {
        double scale = Math.min((double) how.width / picture.width, (double) how.height / picture.height);
        int width = Math.max(1, (int) (picture.width * scale));
        int height = Math.max(1, (int) (picture.height * scale));
        Picture resized = Resampling.resize(picture, width, height, how.bicubic);
        byte[] canvas = new byte[3 * how.width * how.height];
        Arrays.fill(canvas, (byte) how.pad);
        for (int y = 0; y < height; y++) {
            System.arraycopy(resized.rgb, 3 * y * width, canvas, 3 * y * how.width, 3 * width);
        }
        return new Picture(canvas, how.width, how.height);
    }
}
