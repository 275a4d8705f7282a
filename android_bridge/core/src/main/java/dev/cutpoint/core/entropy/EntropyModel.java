package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.SymbolException;
import dev.cutpoint.core.tensor.ElementType;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Static integer frequency tables, chosen by position, for symbols of shape (channels, positions). Safe from several
 * threads; {@link EntropyEncoder} and {@link EntropyDecoder} do the coding.
 */
public final class EntropyModel {
    /** More positions than any boundary has; keeps every size in the coder far from 32 bits. */
    private static final int MAX_SYMBOLS = 1 << 28;
    /** Layouts kept per model. A codec sees one shape, or a few where pictures differ in size. */
    private static final int LAYOUTS_KEPT = 8;

    final Tables tables;
    private final byte[] map;
    private final int channels;
    private final int positions;
    private final int rate;
    private final Map<Integer, Layout> layouts = new LinkedHashMap<>();

    EntropyModel(Tables tables, byte[] map, int channels, int positions, int rate) {
        this.tables = tables;
        this.map = map;
        this.channels = channels;
        this.positions = positions;
        this.rate = rate;
    }

    /**
     * A model from its file.
     *
     * @throws dev.cutpoint.core.error.TableException for bytes that no calibration writes
     */
    public static EntropyModel fromBytes(byte[] data) {
        return ModelFile.parse(data);
    }

    /** The type of the symbols. */
    public ElementType type() {
        return tables.type;
    }

    /** The first dimension of the symbols. */
    public int channels() {
        return channels;
    }

    /**
     * The plan for symbols of shape (channels, positions).
     *
     * @throws SymbolException if the shape is not one of the model
     */
    Layout layout(int channels, int positions) {
        if (channels != this.channels || positions < 0 || this.positions > 0 && positions != this.positions) {
            String wanted = this.positions > 0 ? this.positions + " positions" : "any number of positions";
            throw new SymbolException(
                    "symbols have shape (" + channels + ", " + positions + "), the model is for " + this.channels
                            + " channels, " + wanted);
        }
        if ((long) channels * positions > MAX_SYMBOLS) {
            throw new SymbolException(channels + " x " + positions + " is more than " + MAX_SYMBOLS + " symbols");
        }
        synchronized (layouts) {
            Layout layout = layouts.get(positions);
            if (layout == null) {
                layout = new Layout(tableOf(positions), tables, rate);
                if (layouts.size() == LAYOUTS_KEPT) {
                    layouts.remove(layouts.keySet().iterator().next());
                }
                layouts.put(positions, layout);
            }
            return layout;
        }
    }

    private byte[] tableOf(int positions) {
        if (this.positions > 0) {
            return map;
        }
        byte[] spread = new byte[channels * positions];
        for (int channel = 0; channel < channels; channel++) {
            Arrays.fill(spread, channel * positions, (channel + 1) * positions, map[channel]);
        }
        return spread;
    }
}
