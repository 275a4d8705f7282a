package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;
import java.util.List;

/** Chooses a point for each request. Called by one thread at a time. */
public interface Policy {
    /** The plan for a request that starts now. Must give a local point while {@code conditions.channel} is null. */
    Plan choose(Conditions conditions);

    /** The points it chooses from: the client loads what they need beforehand. */
    List<Point> points();
}
