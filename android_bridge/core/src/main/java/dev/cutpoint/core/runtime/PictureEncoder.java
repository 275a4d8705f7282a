package dev.cutpoint.core.runtime;

/**
 * Writes picture files, for the points that send the picture itself. On Android {@code Bitmap.compress} does it;
 * without an encoder those points are not used.
 */
public interface PictureEncoder {
    /** Whether it writes {@code format}: {@code jpeg} or {@code webp} (lossy). */
    boolean supports(String format);

    /**
     * A picture file.
     *
     * @param format one that it supports
     * @param rgb three bytes a pixel, row by row
     * @param quality 0 … 100
     */
    byte[] encode(String format, byte[] rgb, int width, int height, int quality);
}
