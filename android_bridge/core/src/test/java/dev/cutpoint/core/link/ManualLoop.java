package dev.cutpoint.core.link;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Queue;

/** A loop whose clock and tasks are moved by hand, by the test's thread. Tasks may come from any thread. */
public final class ManualLoop implements Loop {
    private static final class Due implements Timer {
        final double at;
        final Runnable task;
        boolean cancelled;

        Due(double at, Runnable task) {
            this.at = at;
            this.task = task;
        }

        @Override
        public void cancel() {
            cancelled = true;
        }
    }

    private final Queue<Runnable> tasks = new ArrayDeque<>();
    private final List<Due> timers = new ArrayList<>();
    private double now;
    private boolean closed;

    @Override
    public double now() {
        return now;
    }

    @Override
    public synchronized boolean execute(Runnable task) {
        return !closed && tasks.add(task);
    }

    @Override
    public Timer after(double seconds, Runnable task) {
        Due due = new Due(now + seconds, task);
        timers.add(due);
        return due;
    }

    @Override
    public synchronized void close() {
        closed = true;
        timers.clear();
    }

    /** Runs the tasks that wait. */
    public void run() {
        for (Runnable task = poll(); task != null; task = poll()) {
            task.run();
        }
    }

    private synchronized Runnable poll() {
        return tasks.poll();
    }

    /** Whether a task waits. */
    public synchronized boolean hasTasks() {
        return !tasks.isEmpty();
    }

    /** Moves the clock, runs what falls due on the way in its order, and what that brings about. */
    public void advance(double seconds) {
        double end = now + seconds;
        run();
        while (true) {
            timers.removeIf(due -> due.cancelled);
            Due next = timers.stream().min(Comparator.comparingDouble(due -> due.at)).orElse(null);
            if (next == null || next.at > end) {
                break;
            }
            timers.remove(next);
            now = next.at;
            next.task.run();
            run();
        }
        now = end;
    }
}
