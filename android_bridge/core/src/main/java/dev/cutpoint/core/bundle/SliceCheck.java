package dev.cutpoint.core.bundle;

import dev.cutpoint.core.tensor.TensorSpec;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Checks a manifest's slices, and the points that use them. */
final class SliceCheck {
    private final Manifest manifest;
    private final int last;
    private final Map<String, CodecEntry> codecs;
    private final Set<String> slices = new HashSet<>();

    SliceCheck(Manifest manifest, Map<String, CodecEntry> codecs) {
        this.manifest = manifest;
        this.last = manifest.boundaries.size() - 1;
        this.codecs = codecs;
    }

    /** Throws {@link dev.cutpoint.core.error.BundleException} for the first thing that is wrong. */
    void run() {
        manifest.boundaries.forEach(this::checkBoundary);
        manifest.slices.forEach(this::checkSlice);
        for (Point point : manifest.points) {
            if (point.slicing != null) {
                checkPoint(point, point.slicing, "sliced point '" + point.id + "'");
            }
        }
    }

    private void checkBoundary(Boundary boundary) {
        if (boundary.rowAxis == null) {
            return;
        }
        int axis = boundary.rowAxis;
        for (TensorSpec tensor : boundary.tensors) {
            boolean tall = 0 < axis && axis < tensor.shape().length;
            boolean alike = tall && tensor.shape()[axis] == boundary.height();
            need(alike, "boundary " + boundary.index + ": its tensors do not have one number of rows");
        }
    }

    private void checkSlice(Slice slice) {
        String key = Slice.key(slice.start, slice.end, slice.precision, slice.rows);
        need(slices.add(key), "two slices have the same name");
        boolean between = 0 <= slice.start && slice.start < slice.end && slice.end < last;
        need(between, "slice " + key + " is not between two boundaries");
        Boundary start = manifest.boundaries.get(slice.start);
        need(slice.needs.size() == start.tensors.size(), "slice " + key + ": 'needs' is not for each tensor");
        boolean there = within(slice.rows, manifest.boundaries.get(slice.end));
        for (int[] needs : slice.needs) {
            there &= within(needs, start);
        }
        need(there, "slice " + key + ": rows that its boundaries do not have");
        need(!slice.graphs.isEmpty(), "slice " + key + " has no graph file");
    }

    private void checkPoint(Point point, Slicing slicing, String what) {
        boolean plain = point.codec != null && point.exit == null && point.start == point.end;
        need(plain && 0 < point.start && point.start < last, what + " has an exit, or no codec of its boundary");
        int above = 0;
        for (int i = 0; i < slicing.rows.size(); i++) {
            int[] rows = slicing.rows.get(i);
            need(rows[0] == above, what + ": its slices do not follow one another");
            above = rows[1];
            String precision = i < slicing.pictures ? point.tailPrecision : point.precision;
            need(slices.contains(Slice.key(0, point.start, precision, rows)), what + " has no slice of these rows");
        }
        boolean whole = slicing.rows.size() > 1 && above == manifest.boundaries.get(point.start).height();
        need(whole, what + ": its slices are not all rows");
        boolean some = 0 <= slicing.pictures && slicing.pictures <= slicing.rows.size();
        need(some, what + ": so many slices cannot go as picture");
        boolean needed = slicing.pictures > 0;
        need(needed == (slicing.pictureCodec != null), what + ": a codec where slices go as picture, and only there");
        if (needed) {
            CodecEntry codec = codecs.get(slicing.pictureCodec);
            boolean first = codec != null && codec.start == 0 && codec.end == 0;
            int level = slicing.pictureLevel;
            need(first && 0 <= level && level < codec.levels.size(), what + ": the picture's codec is not there");
        }
    }

    private static boolean within(int[] rows, Boundary boundary) {
        return 0 <= rows[0] && rows[0] < rows[1] && rows[1] <= boundary.height();
    }

    private static void need(boolean condition, String message) {
        ManifestCheck.need(condition, message);
    }
}
