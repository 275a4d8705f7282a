package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.policy.Plan;
import dev.cutpoint.core.tensor.Tensor;
import java.util.List;

/** An answer. */
public final class InferenceResult {
    /** Who gave an answer. */
    public enum Source {
        /** The server. */
        EDGE,
        /** This device. */
        DEVICE
    }

    /** The model's outputs, as the bundle's last boundary describes. */
    public final List<Tensor> outputs;
    /** The point that gave this answer. Not the plan's where the device stepped in. */
    public final Point point;
    /** Who gave it. */
    public final Source source;
    /** Where the time went. */
    public final Timing timing;
    /** On the wire, protocol included; 0 if nothing was sent. Counted also where the device stepped in. */
    public final int bytesSent;
    /** What the policy chose, and the latency it expected. */
    public final Plan plan;
    /** Why the device stepped in: the link's or server's error; null if it did not have to. */
    public final CutpointException fallback;
    /** Whether the device started on an answer because the server's was late. */
    public final boolean hedged;

    InferenceResult(
            List<Tensor> outputs,
            Point point,
            Source source,
            Timing timing,
            int bytesSent,
            Plan plan,
            CutpointException fallback,
            boolean hedged) {
        this.outputs = outputs;
        this.point = point;
        this.source = source;
        this.timing = timing;
        this.bytesSent = bytesSent;
        this.plan = plan;
        this.fallback = fallback;
        this.hedged = hedged;
    }
}
