package dev.cutpoint.core.client;

/** Who may answer. */
public enum Mode {
    /** Decides for each request, and falls back on the device. */
    AUTO,
    /** Never uses a server. */
    DEVICE,
    /** Always uses the server, and fails where {@link #AUTO} would fall back. */
    EDGE
}
