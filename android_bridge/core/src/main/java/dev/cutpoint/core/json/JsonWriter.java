package dev.cutpoint.core.json;

import java.nio.charset.StandardCharsets;

/** Writes JSON objects and arrays in order, without spaces. */
public final class JsonWriter {
    private final StringBuilder out = new StringBuilder();

    public JsonWriter begin(char bracket) {
        separate();
        out.append(bracket);
        return this;
    }

    public JsonWriter end(char bracket) {
        out.append(bracket);
        return this;
    }

    public JsonWriter name(String name) {
        value(name);
        out.append(':');
        return this;
    }

    public JsonWriter value(long value) {
        separate();
        out.append(value);
        return this;
    }

    public JsonWriter value(double value) {
        separate();
        out.append(value);
        return this;
    }

    public JsonWriter value(boolean value) {
        separate();
        out.append(value);
        return this;
    }

    /** A string, or null. */
    public JsonWriter value(String value) {
        separate();
        if (value == null) {
            out.append("null");
            return this;
        }
        out.append('"');
        for (int i = 0; i < value.length(); i++) {
            char c = value.charAt(i);
            int simple = "\"\\\b\f\n\r\t".indexOf(c);
            if (simple >= 0) {
                out.append('\\').append("\"\\bfnrt".charAt(simple));
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
        return this;
    }

    public byte[] toBytes() {
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private void separate() {
        char last = out.length() == 0 ? '[' : out.charAt(out.length() - 1);
        if ("[{:,".indexOf(last) < 0) {
            out.append(',');
        }
    }
}
