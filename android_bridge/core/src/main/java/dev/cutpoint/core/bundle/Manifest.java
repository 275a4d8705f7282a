package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.json.JsonException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;

/** The whole of {@code manifest.json}. */
public final class Manifest {
    static final String NAME = "manifest.json";
    /** Version of the schema that this reader reads. */
    static final int SCHEMA = 1;
    /** No manifest comes near this; a longer file is refused before it is parsed. */
    static final int LIMIT = 16 << 20;

    /** Of the model, for people. */
    public final String name;
    /** Program and version. */
    public final String createdBy;
    /** What the outputs mean. */
    public final Task task;
    /** 0 … n. */
    public final List<Boundary> boundaries;
    /** Heads, tails, and the whole model. */
    public final List<Span> spans;
    /** At the boundaries. */
    public final List<CodecEntry> codecs;
    /** The operating points; their order is their number on the wire. */
    public final List<Point> points;
    /** Null where boundary 0 is not a picture. */
    public final Preprocessing preprocessing;
    /** What the device's share of the points costs on machines other than calibration's. */
    public final List<DeviceProfile> devices;
    /** At the boundaries. */
    public final List<Exit> exits;
    final List<Slice> slices;
    final List<FileEntry> files;

    private Manifest(JsonObject json) {
        json.integer("schema");
        name = json.string("name");
        createdBy = json.string("created_by");
        task = new Task(json.object("task"));
        boundaries = list(json.objects("boundaries", false), Boundary::new);
        spans = list(json.objects("spans", false), Span::new);
        codecs = list(json.objects("codecs", false), CodecEntry::new);
        points = list(json.objects("points", false), Point::of);
        files = list(json.objects("files", true), FileEntry::new);
        preprocessing = json.has("preprocessing") ? Preprocessing.of(json.object("preprocessing")) : null;
        json.string("measured_on", "");
        devices = list(json.objects("devices", true), DeviceProfile::new);
        exits = list(json.objects("exits", true), Exit::new);
        slices = list(json.objects("slices", true), Slice::new);
        json.end();
    }

    /**
     * Parses a manifest and checks that everything it refers to is there.
     *
     * @throws BundleException names the field and what is wrong with it
     */
    static Manifest parse(byte[] data) {
        try {
            JsonObject json = new JsonObject(JsonReader.parse(data), "the manifest");
            long schema = json.integer("schema");
            if (schema != SCHEMA) {
                throw new BundleException(
                        NAME + ": schema " + schema + ", but this cutpoint reads schema " + SCHEMA + ": "
                                + (schema > SCHEMA ? "update the app" : "calibrate the model again"));
            }
            Manifest manifest = new Manifest(json);
            new ManifestCheck(manifest).run();
            return manifest;
        } catch (JsonException error) {
            throw new BundleException(NAME + ": " + error.getMessage(), error);
        }
    }

    /** The output boundary. */
    public Boundary last() {
        return boundaries.get(boundaries.size() - 1);
    }

    private static <T> List<T> list(List<JsonObject> objects, Function<JsonObject, T> read) {
        List<T> list = new ArrayList<>(objects.size());
        for (JsonObject json : objects) {
            list.add(read.apply(json));
        }
        return Collections.unmodifiableList(list);
    }
}
