package dev.cutpoint.core.client;

import dev.cutpoint.core.error.InputException;
import java.nio.ByteBuffer;

/** A picture in memory: three bytes a pixel, red, green, blue, row by row. Immutable. */
public final class Picture {
    final byte[] rgb;
    /** Pixels. */
    public final int width;
    /** Pixels. */
    public final int height;

    Picture(byte[] rgb, int width, int height) {
        this.rgb = rgb;
        this.width = width;
        this.height = height;
    }

    /** From three bytes a pixel, which are copied. Throws {@link InputException} if there are more or fewer. */
    public static Picture ofRgb(byte[] rgb, int width, int height) {
        check(rgb.length, 3L * width * height, width, height);
        return new Picture(rgb.clone(), width, height);
    }

    /** From what {@code Bitmap.getPixels} gives: an int a pixel, alpha in the top byte, which is ignored. */
    public static Picture ofArgb(int[] pixels, int width, int height) {
        check(pixels.length, (long) width * height, width, height);
        byte[] rgb = new byte[3 * pixels.length];
        for (int i = 0; i < pixels.length; i++) {
            rgb[3 * i] = (byte) (pixels[i] >> 16);
            rgb[3 * i + 1] = (byte) (pixels[i] >> 8);
            rgb[3 * i + 2] = (byte) pixels[i];
        }
        return new Picture(rgb, width, height);
    }

    /**
     * From what CameraX gives in {@code OUTPUT_IMAGE_FORMAT_RGBA_8888}: four bytes a pixel, alpha last, which is
     * ignored.
     *
     * @param rowStride bytes from one row to the next
     */
    public static Picture ofRgba(ByteBuffer pixels, int width, int height, int rowStride) {
        if (width < 1 || height < 1 || rowStride < 4L * width
                || pixels.remaining() < (long) rowStride * (height - 1) + 4L * width) {
            throw new InputException("the buffer is too small for " + width + " x " + height + " pixels of 4 bytes");
        }
        byte[] rgb = new byte[3 * width * height];
        byte[] row = new byte[4 * width];
        ByteBuffer in = pixels.duplicate();
        for (int y = 0, to = 0; y < height; y++) {
            in.position(pixels.position() + y * rowStride);
            in.get(row);
            for (int from = 0; from < row.length; from += 4) {
                rgb[to++] = row[from];
                rgb[to++] = row[from + 1];
                rgb[to++] = row[from + 2];
            }
        }
        return new Picture(rgb, width, height);
    }

    private static void check(long given, long wanted, int width, int height) {
        if (width < 1 || height < 1 || given != wanted) {
            throw new InputException(given + " values are not a picture of " + width + " x " + height + " pixels");
        }
    }

    /**
     * This picture turned clockwise, as {@code ImageInfo.getRotationDegrees} asks for: by 0, 90, 180 or 270 degrees.
     */
    public Picture rotated(int degrees) {
        if (degrees % 90 != 0) {
            throw new InputException("a picture is turned by a multiple of 90 degrees, not by " + degrees);
        }
        Picture turned = this;
        for (int quarter = (degrees / 90 % 4 + 4) % 4; quarter > 0; quarter--) {
            turned = turned.quarterTurn();
        }
        return turned;
    }

    private Picture quarterTurn() {
        byte[] turned = new byte[rgb.length];
        int to = 0;
        for (int x = 0; x < width; x++) {
            for (int y = height - 1; y >= 0; y--) {
                System.arraycopy(rgb, 3 * (y * width + x), turned, to, 3);
                to += 3;
            }
        }
        return new Picture(turned, height, width);
    }

    /** The part of this picture that begins at (left, top). */
    Picture cropped(int left, int top, int width, int height) {
        byte[] part = new byte[3 * width * height];
        for (int y = 0; y < height; y++) {
            System.arraycopy(rgb, 3 * ((top + y) * this.width + left), part, 3 * y * width, 3 * width);
        }
        return new Picture(part, width, height);
    }
}
