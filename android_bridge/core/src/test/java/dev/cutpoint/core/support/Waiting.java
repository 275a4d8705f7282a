package dev.cutpoint.core.support;

import java.util.function.BooleanSupplier;

/** Waiting for something that another thread or process does. */
public final class Waiting {
    private static final double SECONDS = 20;

    private Waiting() {}

    /** Returns as soon as {@code condition} is true; throws if it never is. */
    public static void until(BooleanSupplier condition) throws InterruptedException {
        long began = System.nanoTime();
        while (!condition.getAsBoolean()) {
            if ((System.nanoTime() - began) / 1e9 > SECONDS) {
                throw new IllegalStateException("it did not come to pass within " + SECONDS + " s");
            }
            Thread.sleep(3); // what is waited for has no event
        }
    }
}
