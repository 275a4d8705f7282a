package dev.cutpoint.core.json;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.Test;

public class JsonTest {
    private static Object parse(String text) {
        return JsonReader.parse(text.getBytes(StandardCharsets.UTF_8));
    }

    private static JsonObject object(String text) {
        return new JsonObject(parse(text), "it");
    }

    @Test
    public void readsEveryKindOfValue() {
        assertEquals(
                Arrays.asList(0L, -12L, 1.5, -2e3, "a\u00e9\n\"/😀", true, false, null, Collections.emptyMap()),
                parse(" [0, -12, 1.5 ,-2E3,\"a\\u00e9\\n\\\"\\/😀\",true,false,null,{ }]\n"));
    }

    @Test
    public void refusesWhatIsNoJson() {
        List<String> texts = Arrays.asList(
                "", " ", "[", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "01", "1.", ".5", "+1", "1e", "-", "tru", "[1 2]",
                "{\"a\" 1}", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "1 2", "NaN", "1e999", "// x", "[1]x");
        for (String text : texts) {
            assertThrows(text, JsonException.class, () -> parse(text));
        }
        assertThrows(JsonException.class, () -> JsonReader.parse(new byte[] {'"', (byte) 0xC3, '"'}));
    }

    @Test
    public void depthIsBounded() {
        char[] open = new char[100_000];
        Arrays.fill(open, '[');
        assertThrows(JsonException.class, () -> parse(new String(open)));
    }

    @Test
    public void damagedTextGivesJsonExceptionsOnly() {
        byte[] text = "{\"a\": [1, 2.5e3, \"x\\u0041\"], \"b\": {\"c\": null, \"d\": true}}"
                .getBytes(StandardCharsets.UTF_8);
        Random random = new Random(1);
        int taken = 0;
        for (int i = 0; i < 20_000; i++) {
            byte[] damaged = Arrays.copyOf(text, 1 + random.nextInt(text.length));
            damaged[random.nextInt(damaged.length)] = (byte) random.nextInt(256);
            try {
                JsonReader.parse(damaged);
                taken++;
            } catch (JsonException error) {
                assertFalse(error.getMessage().isEmpty());
            }
        }
        assertTrue(taken > 0);
    }

    @Test
    public void fieldsAreReadByTypeAndNamedWhenWrong() {
        JsonObject json = object("{\"i\": 3, \"s\": \"x\", \"n\": null, \"l\": [1, 2], \"big\": 5000000000}");
        assertEquals(3, json.int32("i"));
        assertEquals(3, json.number("i"), 0);
        assertEquals("x", json.choice("s", "x", "y"));
        assertFalse(json.has("n"));
        assertArrayEquals(new int[] {1, 2}, json.int32s("l"));
        assertEquals(7, json.int32("absent", 7));
        for (Runnable wrong : Arrays.<Runnable>asList(
                () -> json.string("i"), () -> json.int32("s"), () -> json.int32("big"), () -> json.integer("gone"),
                () -> json.choice("s", "y"), () -> json.string("n", ""), () -> json.numbers("l", 3))) {
            assertTrue(assertThrows(JsonException.class, wrong::run).getMessage().startsWith("it."));
        }
        json.end();
        assertThrows(JsonException.class, () -> object("{\"a\": 1}").end());
        assertThrows(JsonException.class, () -> new JsonObject(parse("[]"), "it"));
    }

    @Test
    public void whatIsWrittenReadsBack() {
        String odd = "quote \" back \\ line \n bell \u0007 ü 😀";
        byte[] text = new JsonWriter()
                .begin('{').name("a").begin('[').value(1).value(2.5).value(true).end(']').name(odd).value(odd)
                .name("n").value((String) null).end('}').toBytes();
        JsonObject json = new JsonObject(JsonReader.parse(text), "it");
        assertEquals(Arrays.asList(1L, 2.5, true), ((Map<?, ?>) JsonReader.parse(text)).get("a"));
        assertEquals(odd, json.string(odd));
        assertFalse(json.has("n"));
    }
}
