package dev.cutpoint.core.client;

/**
 * Resizing with the arithmetic of Pillow, which calibration used, so that what was measured holds. A triangle or cubic
 * filter, stretched when scaling down, in fixed point with 22 fractional bits; rows first, then columns, rounded
 * between the two.
 */
final class Resampling {
    private static final int PRECISION = 32 - 8 - 2;

    private final int[] starts;
    private final int[][] weights;

    /** The weights from {@code from} pixels to {@code to}. */
    private Resampling(int from, int to, boolean cubic) {
        double scale = (double) from / to;
        double stretch = Math.max(scale, 1);
        double support = (cubic ? 2 : 1) * stretch;
        starts = new int[to];
        weights = new int[to][];
        for (int i = 0; i < to; i++) {
            double center = (i + 0.5) * scale;
            int first = Math.max(0, (int) (center - support + 0.5));
            int count = Math.min(from, (int) (center + support + 0.5)) - first;
            double[] exact = new double[count];
            double sum = 0;
            for (int k = 0; k < count; k++) {
                double x = (k + first - center + 0.5) * (1 / stretch);
                exact[k] = cubic ? cubic(x) : triangle(x);
                sum += exact[k];
            }
            starts[i] = first;
            weights[i] = new int[count];
            for (int k = 0; k < count; k++) {
                double weight = sum != 0 ? exact[k] / sum : exact[k];
                weights[i][k] = (int) ((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION));
            }
        }
    }

    private static double triangle(double x) {
        return Math.max(0, 1 - Math.abs(x));
    }

    private static double cubic(double x) {
        double a = -0.5;
        x = Math.abs(x);
        if (x < 1) {
            return ((a + 2) * x - (a + 3)) * x * x + 1;
        }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    }

    /** {@code picture} in another size. */
    static Picture resize(Picture picture, int width, int height, boolean cubic) {
        byte[] rgb = picture.rgb;
        if (width != picture.width) {
            Resampling across = new Resampling(picture.width, width, cubic);
            byte[] out = new byte[3 * width * picture.height];
            for (int y = 0; y < picture.height; y++) {
                across.apply(rgb, 3 * y * picture.width, 3, out, 3 * y * width, 3);
            }
            rgb = out;
        }
        if (height != picture.height) {
            Resampling down = new Resampling(picture.height, height, cubic);
            byte[] out = new byte[3 * width * height];
            for (int x = 0; x < width; x++) {
                down.apply(rgb, 3 * x, 3 * width, out, 3 * x, 3 * width);
            }
            rgb = out;
        }
        return new Picture(rgb, width, height);
    }

    /** One line of pixels: from {@code in}, whose pixels are {@code inStep} bytes apart, to {@code out}. */
    private void apply(byte[] in, int inAt, int inStep, byte[] out, int outAt, int outStep) {
        for (int i = 0; i < starts.length; i++) {
            int[] weight = weights[i];
            int from = inAt + starts[i] * inStep;
            int red = 1 << PRECISION - 1;
            int green = red;
            int blue = red;
            for (int k = 0; k < weight.length; k++, from += inStep) {
                red += (in[from] & 0xFF) * weight[k];
                green += (in[from + 1] & 0xFF) * weight[k];
                blue += (in[from + 2] & 0xFF) * weight[k];
            }
            int to = outAt + i * outStep;
            out[to] = clip(red);
            out[to + 1] = clip(green);
            out[to + 2] = clip(blue);
        }
    }

    private static byte clip(int sum) {
        return (byte) Math.max(0, Math.min(255, sum >> PRECISION));
    }
}
