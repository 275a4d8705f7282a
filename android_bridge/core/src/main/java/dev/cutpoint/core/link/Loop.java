package dev.cutpoint.core.link;

/** The one thread on which a client's state lives, and its clock. Internal; tests bring one that is moved by hand. */
public interface Loop {
    /** Monotonic time in seconds. */
    double now();

    /** Runs {@code task} on the loop's thread, after those that came before it; false once the loop is closed. */
    boolean execute(Runnable task);

    /** Runs {@code task} after some time, unless the timer is cancelled before. */
    Timer after(double seconds, Runnable task);

    /** Takes no more tasks. Those that wait for their turn still run, timers do not. */
    void close();

    /** Something that will happen. */
    interface Timer {
        void cancel();
    }
}
