package dev.cutpoint.core.policy;

import dev.cutpoint.core.error.InputException;
import java.util.function.ToDoubleFunction;

/**
 * What the app wants of an answer.
 *
 * <p>cost = latency weight · ms + energy weight · mJ + loss weight · per cent lost + the server's price · its ms, among
 * the points above the accuracy floor. A deadline comes before all of it.
 */
public final class Objective {
    /** Seconds from the call of {@code infer} to its answer; null for as soon as possible. */
    public final Double deadline;
    /** How much of the task metric (0 … 1) may be given up against the uncut model. */
    public final double accuracyDrop;
    /** Least task metric, instead of {@link #accuracyDrop}; null for none. */
    public final Double accuracyFloor;
    /** Cost of a millisecond. */
    public final double latencyWeight;
    /** Cost of a millijoule. */
    public final double energyWeight;
    /** Cost of one per cent of the task metric. */
    public final double lossWeight;
    /**
     * Milliseconds that a millisecond of the device's work on a second answer has to save. 0 races the device against
     * the server always; 1 and more only where the server's answer is probably lost.
     */
    public final double hedgePrice;
    /**
     * Share of requests that may be raced; for the others the device waits until the server is late, or until the
     * deadline leaves no other choice.
     */
    public final double hedgeShare;
    /** A point is left for one that costs less by more than this share. */
    public final double hysteresis;
    /**
     * For plans that do not say when the device shall step in: as soon as the server's answer takes this many times as
     * long as predicted.
     */
    public final double patience;
    /** Computes the cost of a point instead of the weights; null for the weights. */
    public final ToDoubleFunction<Forecast> cost;

    private Objective(Builder builder) {
        deadline = builder.deadline;
        accuracyDrop = builder.accuracyDrop;
        accuracyFloor = builder.accuracyFloor;
        latencyWeight = builder.latencyWeight;
        energyWeight = builder.energyWeight;
        lossWeight = builder.lossWeight;
        hedgePrice = builder.hedgePrice;
        hedgeShare = builder.hedgeShare;
        hysteresis = builder.hysteresis;
        patience = builder.patience;
        cost = builder.cost;
    }

    /** Begins with the defaults: as fast as possible. */
    public static Builder builder() {
        return new Builder();
    }

    /** Begins with weights for people who do not want to think about weights. */
    public static Builder preset(Preset preset) {
        Builder builder = new Builder();
        switch (preset) {
            case ENERGY:
                return builder.latencyWeight(0.01).energyWeight(1);
            case BALANCED:
                return builder.energyWeight(0.5);
            case ACCURACY:
                return builder.accuracyDrop(0).latencyWeight(0.1).lossWeight(100);
            default:
                return builder;
        }
    }

    /** The least task metric that is accepted, where the uncut model reaches {@code uncut}. */
    public double floor(double uncut) {
        return accuracyFloor == null ? uncut - accuracyDrop : accuracyFloor;
    }

    /** Whether energy matters more than time: then what it costs to know the link does, too. */
    public boolean thrifty() {
        return energyWeight > latencyWeight;
    }

    /** What matters most. */
    public enum Preset {
        /** Time. */
        LATENCY,
        /** The battery. */
        ENERGY,
        /** Both. */
        BALANCED,
        /** The task metric. */
        ACCURACY
    }

    /** Makes an {@link Objective}; every setting has a default. */
    public static final class Builder {
        private Double deadline;
        private double accuracyDrop = 0.01;
        private Double accuracyFloor;
        private double latencyWeight = 1;
        private double energyWeight;
        private double lossWeight;
        private double hedgePrice = 0.03;
        private double hedgeShare = 0.75;
        private double hysteresis = 0.05;
        private double patience = 3;
        private ToDoubleFunction<Forecast> cost;

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

        /** At least 0. */
        public Builder latencyWeight(double weight) {
            latencyWeight = weight;
            return this;
        }

        /** At least 0. */
        public Builder energyWeight(double weight) {
            energyWeight = weight;
            return this;
        }

        /** At least 0. */
        public Builder lossWeight(double weight) {
            lossWeight = weight;
            return this;
        }

        /** At least 0. */
        public Builder hedgePrice(double price) {
            hedgePrice = price;
            return this;
        }

        /** 0 … 1. */
        public Builder hedgeShare(double share) {
            hedgeShare = share;
            return this;
        }

        /** At least 0. */
        public Builder hysteresis(double share) {
            hysteresis = share;
            return this;
        }

        /** At least 1. */
        public Builder patience(double factor) {
            patience = factor;
            return this;
        }

        /** Called on the connection's thread for every point of every decision: it must be quick. */
        public Builder cost(ToDoubleFunction<Forecast> cost) {
            this.cost = cost;
            return this;
        }

        /**
         * @throws InputException for values that make no sense
         */
        public Objective build() {
            need(deadline == null || deadline > 0, "deadline " + deadline + " s is not above 0");
            share("accuracyDrop", accuracyDrop);
            share("accuracyFloor", accuracyFloor == null ? 0 : accuracyFloor);
            share("hedgeShare", hedgeShare);
            need(patience >= 1, "patience " + patience + " is below 1: the prediction itself would be too late");
            notBelowZero("latencyWeight", latencyWeight);
            notBelowZero("energyWeight", energyWeight);
            notBelowZero("lossWeight", lossWeight);
            notBelowZero("hedgePrice", hedgePrice);
            notBelowZero("hysteresis", hysteresis);
            need(
                    latencyWeight + energyWeight + lossWeight > 0,
                    "every weight is 0: an objective has to prefer something");
            return new Objective(this);
        }

        private static void share(String name, double value) {
            need(value >= 0 && value <= 1, name + " " + value + " is not between 0 and 1");
        }

        private static void notBelowZero(String name, double value) {
            need(value >= 0, name + " " + value + " is below 0");
        }

        private static void need(boolean condition, String message) {
            if (!condition) {
                throw new InputException(message);
            }
        }
    }
}
