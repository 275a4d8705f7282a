package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A manifest, and files whose hashes it lists. A device needs its device part only; {@link #hash()} is the same for
 * every part, because it is the SHA-256 of {@code manifest.json}, and that names every file's.
 *
 * <p>Bytes are verified each time they are read, so what reaches a runtime is what calibration wrote. Safe from several
 * threads.
 */
public final class Bundle implements Closeable {
    private final Source source;
    private final String origin;
    private final String hash;
    private final Manifest manifest;
    private final Map<String, FileEntry> files = new HashMap<>();
    private final Set<String> parts = new HashSet<>();
    private final Map<String, Span> spans = new HashMap<>();
    private final Map<String, CodecEntry> codecs = new HashMap<>();
    private final Map<String, Integer> numbers = new HashMap<>();

    private Bundle(Source source, String origin) throws IOException {
        this.source = source;
        this.origin = origin;
        Set<String> names = source.names();
        if (!names.contains(Manifest.NAME)) {
            throw new BundleException(origin + ": " + Manifest.NAME + " is missing: not a bundle");
        }
        byte[] bytes = load(Manifest.NAME, Manifest.LIMIT);
        if (bytes.length > Manifest.LIMIT) {
            throw new BundleException(
                    origin + ": " + Manifest.NAME + " is over the limit of " + Manifest.LIMIT + " bytes");
        }
        this.hash = sha256(bytes);
        this.manifest = Manifest.parse(bytes);
        for (FileEntry entry : manifest.files) {
            files.put(entry.path, entry);
        }
        findParts(names);
        for (Span span : manifest.spans) {
            spans.put(Span.key(span.start, span.end, span.precision), span);
        }
        for (CodecEntry codec : manifest.codecs) {
            codecs.put(codec.id, codec);
        }
        for (int i = 0; i < manifest.points.size(); i++) {
            numbers.put(manifest.points.get(i).id, i);
        }
    }

    /**
     * Opens a {@code .cutpoint} file or a bundle folder, and verifies every file in it. Reads all of it: not for the
     * main thread.
     *
     * @throws BundleException names the file and what is wrong with it
     */
    public static Bundle open(File path) {
        if (!path.exists()) {
            throw new BundleException(path + ": no such bundle; `cutpoint calibrate` makes one");
        }
        Source source = Source.of(path);
        try {
            Bundle bundle = new Bundle(source, path.toString());
            bundle.verify();
            return bundle;
        } catch (IOException error) {
            closeQuietly(source);
            throw new BundleException(path + ": cannot be read: " + error.getMessage(), error);
        } catch (RuntimeException error) {
            closeQuietly(source);
            throw error;
        }
    }

    private static void closeQuietly(Closeable source) {
        try {
            source.close();
        } catch (IOException ignored) {
            // Another failure is on its way to the caller.
        }
    }

    /** Which parts are complete. A part may be absent as a whole; one missing file of a part is damage. */
    private void findParts(Set<String> names) {
        for (String part : new String[] {"device", "server", "report"}) {
            int there = 0;
            String missing = null;
            for (FileEntry entry : manifest.files) {
                if (entry.part.equals(part)) {
                    there += names.contains(entry.path) ? 1 : 0;
                    missing = names.contains(entry.path) ? missing : entry.path;
                }
            }
            if (missing == null) {
                parts.add(part);
            } else if (there > 0) {
                throw new BundleException(origin + ": " + missing + " is missing");
            }
        }
        for (FileEntry entry : manifest.files) {
            if (entry.part.equals("both") && !names.contains(entry.path)) {
                throw new BundleException(origin + ": " + entry.path + " is missing");
            }
        }
        if (!parts.contains("device") && !parts.contains("server")) {
            throw new BundleException(origin + ": neither the device part nor the server part is there");
        }
    }

    /** SHA-256 of the manifest in lower-case hex: the bundle's name. */
    public String hash() {
        return hash;
    }

    /** What calibration says of the model. */
    public Manifest manifest() {
        return manifest;
    }

    /** The operating points, in the order of their numbers on the wire. */
    public List<Point> points() {
        return manifest.points;
    }

    /** Whether the file is there: listed, and of a part that this bundle holds. */
    public boolean contains(String path) {
        FileEntry entry = files.get(path);
        return entry != null && (entry.part.equals("both") || parts.contains(entry.part));
    }

    /**
     * The content of one file, verified.
     *
     * @throws BundleException if the manifest does not list it, it is not there, or its size or hash is wrong
     */
    public byte[] read(String path) {
        FileEntry entry = files.get(path);
        if (entry == null) {
            throw new BundleException(origin + ": " + path + " is not part of the bundle");
        }
        if (!contains(path)) {
            throw new BundleException(
                    origin + ": " + path + " belongs to the " + entry.part + " part, which is not in this bundle");
        }
        byte[] data;
        try {
            long size = source.size(path);
            if (size != entry.size) {
                throw new BundleException(
                        origin + ": " + path + " has " + size + " bytes, the manifest says " + entry.size);
            }
            data = load(path, entry.size);
        } catch (IOException | IllegalStateException error) { // the latter from a zip file that was closed
            throw new BundleException(origin + ": " + path + " cannot be read: " + error.getMessage(), error);
        }
        if (data.length != entry.size || !sha256(data).equals(entry.sha256)) {
            throw new BundleException(origin + ": " + path + " is damaged: its hash is not the one in the manifest");
        }
        return data;
    }

    /** Checks size and hash of every file that is there. Throws {@link BundleException} for the first that is wrong. */
    private void verify() {
        for (FileEntry entry : manifest.files) {
            if (contains(entry.path)) {
                read(entry.path);
            }
        }
    }

    /** The span between two boundaries. Throws {@link BundleException} if the bundle has none. */
    public Span span(int start, int end, String precision) {
        Span span = spans.get(Span.key(start, end, precision));
        if (span == null) {
            throw new BundleException(origin + ": no span " + Span.key(start, end, precision));
        }
        return span;
    }

    /** The codec of that id. Throws {@link BundleException} if the bundle has none. */
    public CodecEntry codec(String id) {
        CodecEntry codec = codecs.get(id);
        if (codec == null) {
            throw new BundleException(origin + ": no codec '" + id + "'");
        }
        return codec;
    }

    /** A point's number on the wire. Throws {@link BundleException} if the bundle has no such point. */
    public int pointNumber(String id) {
        Integer number = numbers.get(id);
        if (number == null) {
            throw new BundleException(origin + ": no point '" + id + "'; there are " + manifest.points);
        }
        return number;
    }

    /** The point of that id. Throws {@link BundleException} if the bundle has no such point. */
    public Point point(String id) {
        return manifest.points.get(pointNumber(id));
    }

    /** Closes the file. What has been read stays. */
    @Override
    public void close() throws IOException {
        source.close();
    }

    @Override
    public String toString() {
        return origin;
    }

    /** At most one byte more than {@code limit}: memory follows what is there, not what somebody says is there. */
    private byte[] load(String name, long limit) throws IOException {
        try (InputStream in = source.open(name)) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] buffer = new byte[1 << 16];
            while (out.size() <= limit) {
                int got = in.read(buffer, 0, (int) Math.min(buffer.length, limit + 1 - out.size()));
                if (got < 0) {
                    break;
                }
                out.write(buffer, 0, got);
            }
            return out.toByteArray();
        }
    }

    private static String sha256(byte[] data) {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new AssertionError("every platform has SHA-256", error);
        }
        StringBuilder hex = new StringBuilder();
        for (byte b : digest.digest(data)) {
            hex.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
        }
        return hex.toString();
    }
}
