package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.Collections;
import java.util.List;

/** What the outputs mean and how they are judged. */
public final class Task {
    /**
     * {@code classification} (first output is scores, last axis = classes), {@code segmentation}, {@code detection},
     * {@code embedding} or {@code agreement} (any tensors).
     */
    public final String kind;
    /**
     * What {@link Measurement#metric} is: {@code top1}, {@code miou} or {@code ap} against labels; {@code agreement},
     * {@code miou_agreement} or {@code cosine} against the uncut model.
     */
    public final String metric;
    /** The metric of the uncut fp32 model on the same data, 0 … 1. */
    public final double uncut;
    /** How many inputs the metric was measured on. */
    public final long samples;
    /** Class names in the order of the scores; may be empty. */
    public final List<String> labels;

    Task(JsonObject json) {
        kind = json.choice("kind", "classification", "segmentation", "detection", "embedding", "agreement");
        metric = json.choice("metric", "top1", "miou", "ap", "agreement", "miou_agreement", "cosine");
        uncut = json.number("uncut");
        samples = json.integer("samples");
        labels = Collections.unmodifiableList(json.strings("labels", true));
        json.end();
    }
}
