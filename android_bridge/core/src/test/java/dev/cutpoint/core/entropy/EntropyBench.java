package dev.cutpoint.core.entropy;

import com.sun.management.ThreadMXBean;
import dev.cutpoint.core.support.Vectors;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;

/**
 * Throughput and allocation of the coder on this JVM. The argument is a file in the layout of the golden vectors;
 * prints JSON.
 */
public final class EntropyBench {
    private static final int ROUNDS = 7;
    private static final double SECONDS = 0.5;

    private EntropyBench() {}

    public static void main(String[] arguments) throws Exception {
        Vectors.Vector vector = Vectors.read(Paths.get(arguments[0]));
        EntropyModel model = EntropyModel.fromBytes(vector.model);
        EntropyEncoder encoder = new EntropyEncoder();
        EntropyDecoder decoder = new EntropyDecoder();
        ByteBuffer symbols = ByteBuffer.wrap(vector.symbols);
        int count = vector.channels * vector.positions;
        Runnable encode = () -> encoder.encode(model, symbols, vector.channels, vector.positions);
        Runnable decode = () -> decoder.decode(model, vector.stream, vector.channels, vector.positions);
        System.out.printf(
                "{\"symbols\": %d, \"bytes\": %d, \"encode_msym_s\": %.1f, \"decode_msym_s\": %.1f,"
                        + " \"encode_allocated_bytes\": %d}%n",
                count, vector.stream.length, best(encode, count), best(decode, count), allocated(encode));
    }

    /** Million symbols a second in the best of some rounds: the others say how busy the machine was. */
    private static double best(Runnable work, int count) {
        double best = 0;
        for (int round = 0; round < ROUNDS; round++) {
            long began = System.nanoTime();
            long calls = 0;
            double elapsed = 0;
            while (elapsed < SECONDS) {
                work.run();
                calls++;
                elapsed = (System.nanoTime() - began) / 1e9;
            }
            best = Math.max(best, calls * count / elapsed / 1e6);
        }
        return best;
    }

    /** Bytes that one call allocates once everything is warm. */
    private static long allocated(Runnable work) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long self = Thread.currentThread().getId();
        long before = threads.getThreadAllocatedBytes(self);
        for (int i = 0; i < 100; i++) {
            work.run();
        }
        return (threads.getThreadAllocatedBytes(self) - before) / 100;
    }
}
