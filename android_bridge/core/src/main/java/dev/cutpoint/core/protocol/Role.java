package dev.cutpoint.core.protocol;

/** Who says something. */
public enum Role {
    CLIENT,
    SERVER;

    Role peer() {
        return this == CLIENT ? SERVER : CLIENT;
    }
}
