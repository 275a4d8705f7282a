package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;

/** One file of the bundle. */
final class FileEntry {
    final String path;
    final long size;
    /** Lower-case hex. */
    final String sha256;
    /** Which machine needs it: {@code device}, {@code server}, {@code both} or {@code report}. */
    final String part;

    FileEntry(JsonObject json) {
        path = json.string("path");
        size = json.integer("size");
        sha256 = json.string("sha256");
        part = json.choice("part", "device", "server", "both", "report");
        json.end();
    }
}
