package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.Collections;
import java.util.List;

/** What the outputs mean and how they are judged. */
public final class Task {
    /** {@code classification} (first output is scores, last axis = classes) or {@code agreement} (any tensors). */
    public final String kind;
    /** What {@link Measurement#metric} is: {@code top1} against labels, or {@code agreement} with the uncut model. */
    public final String metric;
    /** The metric of the uncut fp32 model on the same data, 0 … 1. */
    public final double uncut;
    /** How many inputs the metric was measured on. */
    public final long samples;
    /** Class names in the order of the scores; may be empty. */
    public final List<String> labels;

    Task(JsonObject json) {
        kind = json.choice("kind", "classification", "agreement");
        metric = json.choice("metric", "top1", "agreement");
        uncut = json.number("uncut");
        samples = json.integer("samples");
        labels = Collections.unmodifiableList(json.strings("labels", true));
        json.end();
    }
}
