package dev.cutpoint.core.link;

import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A loop on a daemon thread of its own. */
public final class ThreadLoop implements Loop {
    private static final Logger LOG = Logger.getLogger("cutpoint");

    private final ScheduledThreadPoolExecutor executor;

    public ThreadLoop(String name) {
        executor = new ScheduledThreadPoolExecutor(1, task -> {
            Thread thread = new Thread(task, name);
            thread.setDaemon(true);
            return thread;
        });
        executor.setRemoveOnCancelPolicy(true);
        executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    }

    @Override
    public double now() {
        return System.nanoTime() / 1e9;
    }

    @Override
    public boolean execute(Runnable task) {
        try {
            executor.execute(guarded(task));
            return true;
        } catch (RejectedExecutionException closed) {
            return false;
        }
    }

    @Override
    public Timer after(double seconds, Runnable task) {
        try {
            Future<?> future = executor.schedule(guarded(task), (long) (seconds * 1e9), TimeUnit.NANOSECONDS);
            return () -> future.cancel(false);
        } catch (RejectedExecutionException closed) {
            return () -> {};
        }
    }

    /** A bug in one task must be seen, and must not end the thread that all others need. */
    private static Runnable guarded(Runnable task) {
        return () -> {
            try {
                task.run();
            } catch (RuntimeException error) {
                LOG.log(Level.SEVERE, "a task of the client failed", error);
            }
        };
    }

    @Override
    public void close() {
        executor.shutdown();
    }
}
