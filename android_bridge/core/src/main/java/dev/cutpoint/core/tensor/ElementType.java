package dev.cutpoint.core.tensor;

/** The element types that may cross a boundary, in the order of their codes on the wire. */
public enum ElementType {
    FLOAT32("float32", 4),
    FLOAT16("float16", 2),
    UINT8("uint8", 1),
    INT8("int8", 1),
    INT16("int16", 2),
    INT32("int32", 4),
    INT64("int64", 8),
    BOOL("bool", 1),
    UINT16("uint16", 2),
    FLOAT64("float64", 8);

    private static final ElementType[] BY_CODE = values();

    private final String label;
    private final int bytes;

    ElementType(String label, int bytes) {
        this.label = label;
        this.bytes = bytes;
    }

    /** The type's name in a manifest. */
    public String label() {
        return label;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    /** Whether it is one of the floating-point types. */
    public boolean isFloat() {
        return this == FLOAT32 || this == FLOAT16 || this == FLOAT64;
    }

    /** The type of that name in a manifest; null if there is none. */
    public static ElementType of(String label) {
        for (ElementType type : BY_CODE) {
            if (type.label.equals(label)) {
                return type;
            }
        }
        return null;
    }

    /** The type of that code on the wire; null if there is none. */
    public static ElementType ofCode(int code) {
        return code >= 0 && code < BY_CODE.length ? BY_CODE[code] : null;
    }
}
