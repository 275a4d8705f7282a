package dev.cutpoint.core.json;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A JSON object read field by field: each accessor checks presence and type, {@link #end} that nothing else was there.
 */
public final class JsonObject {
    private final Map<?, ?> members;
    private final String where;
    private final Set<Object> read = new HashSet<>();

    /**
     * @param value what {@link JsonReader#parse} returned
     * @param where what messages call it
     * @throws JsonException if it is not an object
     */
    public JsonObject(Object value, String where) {
        if (!(value instanceof Map)) {
            throw new JsonException(where + " is not an object");
        }
        this.members = (Map<?, ?>) value;
        this.where = where;
    }

    /** Whether there is such a field, and it is not null. */
    public boolean has(String name) {
        read.add(name);
        return members.get(name) != null;
    }

    public String string(String name) {
        return typed(name, String.class, "a string");
    }

    public String string(String name, String absent) {
        return members.containsKey(name) ? string(name) : absent;
    }

    /** A string or null; null where the field is absent. */
    public String stringOrNull(String name) {
        return has(name) ? string(name) : null;
    }

    /** One of some strings. */
    public String choice(String name, String... choices) {
        String value = string(name);
        for (String choice : choices) {
            if (choice.equals(value)) {
                return value;
            }
        }
        throw new JsonException(where + "." + name + ": unknown value '" + value + "'");
    }

    /** As {@link #choice}; {@code absent} where the field is not there. */
    public String choiceOr(String absent, String name, String... choices) {
        return members.containsKey(name) ? choice(name, choices) : absent;
    }

    public long integer(String name, long absent) {
        return members.containsKey(name) ? integer(name) : absent;
    }

    public long integer(String name) {
        return typed(name, Long.class, "an integer");
    }

    public int int32(String name) {
        return narrow(integer(name), name);
    }

    public int int32(String name, int absent) {
        return members.containsKey(name) ? int32(name) : absent;
    }

    public double number(String name) {
        return typed(name, Number.class, "a number").doubleValue();
    }

    public double number(String name, double absent) {
        return members.containsKey(name) ? number(name) : absent;
    }

    public boolean bool(String name, boolean absent) {
        return members.containsKey(name) ? typed(name, Boolean.class, "true or false") : absent;
    }

    public JsonObject object(String name) {
        return new JsonObject(typed(name, Map.class, "an object"), where + "." + name);
    }

    /** An object; null where the field is absent. */
    public JsonObject objectOrNull(String name) {
        return members.containsKey(name) ? object(name) : null;
    }

    /** The objects of an array; none where the field is absent and may be. */
    public List<JsonObject> objects(String name, boolean optional) {
        List<JsonObject> objects = new ArrayList<>();
        for (Object value : list(name, optional)) {
            objects.add(new JsonObject(value, where + "." + name + "[" + objects.size() + "]"));
        }
        return objects;
    }

    public List<String> strings(String name, boolean optional) {
        List<String> strings = new ArrayList<>();
        for (Object value : list(name, optional)) {
            if (!(value instanceof String)) {
                throw new JsonException(where + "." + name + " holds something that is not a string");
            }
            strings.add((String) value);
        }
        return strings;
    }

    public int[] int32s(String name) {
        List<?> values = list(name, false);
        int[] numbers = new int[values.size()];
        for (int i = 0; i < numbers.length; i++) {
            if (!(values.get(i) instanceof Long)) {
                throw new JsonException(where + "." + name + " holds something that is not an integer");
            }
            numbers[i] = narrow((Long) values.get(i), name);
        }
        return numbers;
    }

    /** Two integers. */
    public int[] pair(String name) {
        int[] pair = int32s(name);
        if (pair.length != 2) {
            throw new JsonException(where + "." + name + " has " + pair.length + " integers, not 2");
        }
        return pair;
    }

    /** An array of arrays of two integers. */
    public List<int[]> pairs(String name) {
        List<int[]> pairs = new ArrayList<>();
        for (Object value : list(name, false)) {
            pairs.add(new JsonObject(Collections.singletonMap(name, value), where).pair(name));
        }
        return pairs;
    }

    /** Exactly {@code count} numbers; none where the field is absent. */
    public double[] numbers(String name, int count) {
        double[] numbers = numbers(name);
        if (members.containsKey(name) && numbers.length != count) {
            throw new JsonException(where + "." + name + " has " + numbers.length + " numbers, not " + count);
        }
        return numbers;
    }

    /** The numbers of an array; none where the field is absent. */
    public double[] numbers(String name) {
        List<?> values = list(name, true);
        double[] numbers = new double[values.size()];
        for (int i = 0; i < numbers.length; i++) {
            if (!(values.get(i) instanceof Number)) {
                throw new JsonException(where + "." + name + " holds something that is not a number");
            }
            numbers[i] = ((Number) values.get(i)).doubleValue();
        }
        return numbers;
    }

    /** Throws {@link JsonException} if there is a field that was not asked for. */
    public void end() {
        for (Object name : members.keySet()) {
            if (!read.contains(name)) {
                throw new JsonException(where + " has an unknown field '" + name + "'");
            }
        }
    }

    private List<?> list(String name, boolean optional) {
        if (optional && !members.containsKey(name)) {
            return new ArrayList<>();
        }
        return typed(name, List.class, "an array");
    }

    private <T> T typed(String name, Class<T> type, String description) {
        read.add(name);
        Object value = members.get(name);
        if (!type.isInstance(value)) {
            String wrong = members.containsKey(name) ? " is not " + description : " is missing";
            throw new JsonException(where + "." + name + wrong);
        }
        return type.cast(value);
    }

    private int narrow(long value, String name) {
        if ((int) value != value) {
            throw new JsonException(where + "." + name + " is out of range");
        }
        return (int) value;
    }
}
