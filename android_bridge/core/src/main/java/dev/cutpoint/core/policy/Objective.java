package dev.cutpoint.core.policy;

import dev.cutpoint.core.error.InputException;

/** What the app wants of an answer. */
public final class Objective {
    /** Seconds from the call of {@code infer} to its answer; null for as soon as possible. */
    public final Double deadline;
    /** How much of the task metric (0 … 1) may be given up against the uncut model. */
    public final double accuracyDrop;
    /** Least task metric, instead of {@link #accuracyDrop}; null for none. */
    public final Double accuracyFloor;
    /**
     * Without a deadline, the device starts on its own answer when the server's takes this many times as long as
     * predicted.
     */
    public final double patience;

    private Objective(Builder builder) {
        deadline = builder.deadline;
        accuracyDrop = builder.accuracyDrop;
        accuracyFloor = builder.accuracyFloor;
        patience = builder.patience;
    }

    /** Begins with the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** The least task metric that is accepted, where the uncut model reaches {@code uncut}. */
    public double floor(double uncut) {
        return accuracyFloor == null ? uncut - accuracyDrop : accuracyFloor;
    }

    /** Makes an {@link Objective}; every setting has a default. */
    public static final class Builder {
        private Double deadline;
        private double accuracyDrop = 0.01;
        private Double accuracyFloor;
        private double patience = 3;

        private Builder() {}

        /** Seconds, above 0. */
        public Builder deadline(double seconds) {
            deadline = seconds;
            return this;
        }

        /** 0 … 1. */
        public Builder accuracyDrop(double drop) {
            accuracyDrop = drop;
            return this;
        }

        /** 0 … 1. */
        public Builder accuracyFloor(double floor) {
            accuracyFloor = floor;
            return this;
        }

        /** At least 1. */
        public Builder patience(double factor) {
            patience = factor;
            return this;
        }

        /**
         * @throws InputException for values that make no sense
         */
        public Objective build() {
            need(deadline == null || deadline > 0, "deadline " + deadline + " s is not above 0");
            need(accuracyDrop >= 0 && accuracyDrop <= 1, "accuracyDrop " + accuracyDrop + " is not between 0 and 1");
            need(
                    accuracyFloor == null || accuracyFloor >= 0 && accuracyFloor <= 1,
                    "accuracyFloor " + accuracyFloor + " is not between 0 and 1");
            need(patience >= 1, "patience " + patience + " is below 1: the prediction itself would be too late");
            return new Objective(this);
        }

        private static void need(boolean condition, String message) {
            if (!condition) {
                throw new InputException(message);
            }
        }
    }
}
