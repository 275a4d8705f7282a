package dev.cutpoint.core.protocol;

/** States of a request. Done requests are forgotten; ids rise, so late frames of theirs are recognised. */
enum RequestState {
    NEW,
    UPLOADING,
    WAITING,
    CANCELLED,
    DONE
}
