package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/** Checks that what a manifest refers to is there, and that its paths stay inside the bundle. */
final class ManifestCheck {
    private static final Pattern PATH =
            Pattern.compile("[A-Za-z0-9_+@=-][A-Za-z0-9_.+@=-]*(/[A-Za-z0-9_+@=-][A-Za-z0-9_.+@=-]*)*");
    private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

    private final Manifest manifest;
    private final int last;
    private final Set<String> files = new HashSet<>();
    private final Set<String> spans = new HashSet<>();
    private final Map<String, CodecEntry> codecs = new HashMap<>();
    private final Map<String, Exit> exits = new HashMap<>();

    ManifestCheck(Manifest manifest) {
        this.manifest = manifest;
        this.last = manifest.boundaries.size() - 1;
    }

    /** Throws {@link BundleException} for the first thing that is wrong. */
    void run() {
        checkBoundaries();
        int count = manifest.points.size();
        need(count > 0 && count <= 65535, "between 1 and 65535 points are needed");
        checkFiles();
        checkSpans();
        checkCodecs();
        checkExits();
        checkDevices();
        manifest.slices.forEach(slice -> checkGraphs(slice.graphs, "a slice"));
        new SliceCheck(manifest, codecs).run();
        checkPoints();
        checkServers();
    }

    private void checkBoundaries() {
        need(last >= 1, "at least two boundaries are needed, the input and the output");
        for (int i = 0; i <= last; i++) {
            need(manifest.boundaries.get(i).index == i, "boundaries are not numbered 0, 1, …");
            need(!manifest.boundaries.get(i).tensors.isEmpty(), "a boundary without tensors");
        }
    }

    private void checkFiles() {
        Set<String> folded = new HashSet<>();
        for (FileEntry file : manifest.files) {
            if (file.path.length() > 200 || !PATH.matcher(file.path).matches()) {
                throw new BundleException(
                        "'" + file.path + "': not a path that a bundle may hold (relative; letters, digits, -_.+@=)");
            }
            need(!file.path.equals(Manifest.NAME), "the manifest lists itself");
            need(file.size >= 0 && SHA256.matcher(file.sha256).matches(), file.path + ": bad size or hash");
            files.add(file.path);
            need(folded.add(file.path.toLowerCase(Locale.ROOT)), "two files have the same name");
        }
    }

    private void checkSpans() {
        for (Span span : manifest.spans) {
            String key = Span.key(span.start, span.end, span.precision);
            need(spans.add(key), "two spans have the same name");
            boolean between = 0 <= span.start && span.start < span.end && span.end <= last;
            need(between, "span " + key + " is not between two boundaries");
            need(!span.graphs.isEmpty(), "span " + key + " has no graph file");
            checkGraphs(span.graphs, "span " + key);
        }
    }

    private void checkCodecs() {
        for (CodecEntry codec : manifest.codecs) {
            String what = "codec '" + codec.id + "'";
            need(codecs.put(codec.id, codec) == null, "two codecs have the same name");
            boolean inside = 0 <= codec.start && codec.start <= codec.end && codec.end < last;
            need(inside, what + " is at boundaries that are not there");
            need(!codec.levels.isEmpty(), what + " has no level");
            checkGraphs(codec.encoder, what);
            checkGraphs(codec.decoder, what);
            boolean tabled = codec.tables == null || files.contains(codec.tables);
            need(tabled, what + ": tables '" + codec.tables + "' are not there");
        }
    }

    private void checkExits() {
        for (Exit exit : manifest.exits) {
            String what = "exit '" + exit.id + "'";
            need(exits.put(exit.id, exit) == null, "two exits have the same name");
            need(0 < exit.boundary && exit.boundary < last, what + " is at a boundary that is not there");
            need(!exit.graphs.isEmpty(), what + " has no graph file");
            need(exit.thresholds > 0, what + " has no threshold");
            checkGraphs(exit.graphs, what);
        }
    }

    private void checkServers() {
        Map<String, Point> points = new HashMap<>();
        manifest.points.forEach(point -> points.put(point.id, point));
        for (Exit exit : manifest.exits) {
            for (String id : exit.servers) {
                Point point = points.get(id);
                need(point != null, "exit '" + exit.id + "' names point '" + id + "', which is not there");
                String asked = "exit '" + exit.id + "' cannot be asked by servers for point '" + id + "'";
                need(!point.isLocal() && point.exit == null && point.end <= exit.boundary, asked);
                String rest = Span.key(point.end, exit.boundary, point.tailPrecision);
                need(point.end == exit.boundary || spans.contains(rest), asked + ": there is no span in between");
            }
        }
    }

    private void checkExit(Point point, String what) {
        double rate = point.measured.exitRate;
        need(0 <= rate && rate <= 1, what + ": an exit cannot answer that share");
        if (point.exit == null) {
            return;
        }
        Exit exit = exits.get(point.exit);
        need(exit != null, what + " names exit '" + point.exit + "', which is not there");
        boolean onTheWay = exit.boundary <= point.start && exit.precision.equals(point.precision);
        need(onTheWay, "exit '" + exit.id + "' does not lie on the way of " + what);
        boolean known = 0 <= point.threshold && point.threshold < exit.thresholds;
        need(known, what + ": its exit has no threshold " + point.threshold);
        need(spans.contains(Span.key(0, exit.boundary, exit.precision)), "exit '" + exit.id + "' has no head span");
        String rest = Span.key(exit.boundary, point.start, exit.precision);
        need(exit.boundary == point.start || spans.contains(rest), what + " has no span behind its exit");
    }

    private void checkDevices() {
        Set<String> names = new HashSet<>();
        for (DeviceProfile profile : manifest.devices) {
            need(names.add(profile.name), "two device profiles have the same name");
            String problem = profile.problem();
            need(problem == null, problem);
        }
    }

    private void checkPoints() {
        Set<String> ids = new HashSet<>();
        boolean local = false;
        for (Point point : manifest.points) {
            String what = "point '" + point.id + "'";
            need(ids.add(point.id), "two points have the same name");
            checkExit(point, what);
            boolean headed = point.start <= 0 || point.slicing != null || spans.contains(Span.key(0, point.start, point.precision));
            need(headed, what + " has no head span");
            if (point.isLocal()) {
                need(point.start == last && point.end == last, what + " has no codec, but is not local");
                local |= point.exit == null;
                continue;
            }
            CodecEntry codec = codecs.get(point.codec);
            need(codec != null, what + " names codec '" + point.codec + "', which is not there");
            need(point.start == codec.start && point.end == codec.end, what + " and its codec differ in boundary");
            boolean levelled = 0 <= point.level && point.level < codec.levels.size();
            need(levelled, what + ": its codec has no level " + point.level);
            need(spans.contains(Span.key(point.end, last, point.tailPrecision)), what + " has no tail span");
        }
        need(local, "no local point: a device must be able to answer alone");
    }

    private void checkGraphs(List<GraphFile> graphs, String what) {
        for (GraphFile graph : graphs) {
            for (String path : graph.paths()) {
                need(files.contains(path), what + " refers to '" + path + "', which is not among the files");
            }
        }
    }

    static void need(boolean condition, String message) {
        if (!condition) {
            throw new BundleException(Manifest.NAME + ": " + message);
        }
    }
}
