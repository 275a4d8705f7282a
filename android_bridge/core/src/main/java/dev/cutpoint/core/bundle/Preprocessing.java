package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.json.JsonObject;

/**
 * How a picture becomes boundary 0: uint8 RGB of shape (1, height, width, 3). Normalisation is the first thing in every
 * graph that starts there, and concerns no client.
 */
public final class Preprocessing {
    /** Pixels, of boundary 0. */
    public final int height;
    /** Pixels, of boundary 0. */
    public final int width;
    /** The short side is scaled to this many pixels before the centre crop; 0: straight to height × width. */
    public final int resize;
    /** Scale to fit, keep the aspect ratio, put the picture top left and fill the rest with {@link #pad}. */
    public final boolean letterbox;
    /** Grey value 0–255 of the letterbox. */
    public final int pad;
    /** Whether resizing is bicubic; bilinear otherwise. */
    public final boolean bicubic;

    private Preprocessing(JsonObject json) {
        height = json.int32("height");
        width = json.int32("width");
        resize = json.has("resize") ? json.int32("resize") : 0;
        boolean resizes = json.has("resize");
        letterbox = json.bool("letterbox", false);
        pad = json.int32("pad", 114);
        bicubic = json.choiceOr("bilinear", "interpolation", "bilinear", "bicubic").equals("bicubic");
        json.choiceOr("rgb", "channels", "rgb", "bgr");
        json.number("scale", 1);
        json.numbers("mean", 3);
        for (double std : json.numbers("std", 3)) {
            need(std != 0, "'std' must not be 0");
        }
        json.end();
        need(height >= 1 && width >= 1, "a picture of " + width + "x" + height + " has no pixels");
        need(!resizes || resize >= Math.max(1, Math.min(height, width)), "resize is smaller than the crop");
        need(!resizes || !letterbox, "'resize' and 'letterbox' exclude each other");
        need(pad >= 0 && pad <= 255, "'pad' is a grey value from 0 to 255");
    }

    /** From its part of a manifest. Throws {@link BundleException} if it makes no sense. */
    public static Preprocessing of(JsonObject json) {
        return new Preprocessing(json);
    }

    private static void need(boolean condition, String message) {
        if (!condition) {
            throw new BundleException("manifest.json: preprocessing: " + message);
        }
    }
}
