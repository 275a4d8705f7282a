package dev.cutpoint.core.entropy;

import java.util.Arrays;

/** Which table each coded symbol uses, and how many lanes share the work: all that a model and a shape determine. */
final class Layout {
    static final int MAX_LANES_LOG2 = 8;
    /** Steps coded with each lane count below the final one. */
    static final int STAGE_STEPS = 16;

    /** All positions. */
    final int count;
    /** The table of each position times 256. */
    final char[] bases;
    /** The same for the positions that are coded. */
    final char[] activeBases;
    /** Start and length of each run of positions that are coded, ascending. */
    final int[] runs;
    /** The encoder's lanes. */
    final int lanesLog2;

    /**
     * @param tableOf the table of each position
     * @param rate expected cost of a symbol that is not silent, in 1/1024 bit
     */
    Layout(byte[] tableOf, Tables tables, int rate) {
        count = tableOf.length;
        bases = new char[count];
        char[] active = new char[count];
        int[] edges = new int[count + 2];
        int coded = 0;
        int runCount = 0;
        boolean inRun = false;
        for (int i = 0; i < count; i++) {
            int table = tableOf[i] & 0xFF;
            bases[i] = (char) (table << 8);
            boolean codes = tables.constants[table] < 0;
            if (codes) {
                active[coded++] = bases[i];
                if (!inRun) {
                    edges[2 * runCount] = i;
                    edges[2 * runCount + 1] = 0;
                    runCount++;
                }
                edges[2 * runCount - 1]++;
            }
            inRun = codes;
        }
        activeBases = coded == count ? bases : Arrays.copyOf(active, coded);
        runs = Arrays.copyOf(edges, 2 * runCount);
        lanesLog2 = lanesLog2(coded, rate);
    }

    /** Whether some position is silent. */
    boolean hasSilent() {
        return activeBases.length < count;
    }

    /** The symbols that come before the stage of {@code 1 << log2} lanes. */
    static int stageFirst(int log2) {
        return STAGE_STEPS * ((1 << log2) - 1);
    }

    /** The symbols of stage {@code log2}, of {@code count} in all; the last stage has the rest. */
    static int stageSymbols(int log2, int finalLog2, int count) {
        return log2 < finalLog2 ? STAGE_STEPS << log2 : count - stageFirst(finalLog2);
    }

    /**
     * The encoder's choice of lanes. A lane costs about 0.7 bytes. Up to eight lanes have 32 bytes each to code,
     * further ones 256; no lane codes fewer than 32 symbols.
     */
    private static int lanesLog2(int count, int rate) {
        long size = (long) count * rate >> 13;
        long lanes = Math.min(Math.min(1 + size / 32, 8 + size / 256), Math.min(count / 32, 1 << MAX_LANES_LOG2));
        return 31 - Integer.numberOfLeadingZeros((int) Math.max(lanes, 1));
    }
}
