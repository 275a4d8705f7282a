package dev.cutpoint.core.protocol;

/** States of a connection. */
public enum ConnectionState {
    START,
    GREETED,
    OPEN,
    DRAINING,
    CLOSED
}
