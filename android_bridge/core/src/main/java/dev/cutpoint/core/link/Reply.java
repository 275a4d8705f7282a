package dev.cutpoint.core.link;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.protocol.Frame;

/** Hears how a request went: exactly one of the two, once, on the loop; neither after it was cancelled. */
public interface Reply {
    void answered(Frame.Result result);

    void failed(CutpointException error);
}
