package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.ArrayList;
import java.util.List;

/** In which slices a point's head is computed. It is read, so that its bundle can be used; such points do not run. */
public final class Slicing {
    /** Rows of each slice, from the top down. */
    final List<int[]> rows = new ArrayList<>();
    /** How many of them go as picture. */
    final int pictures;
    /** {@link CodecEntry#id}; null where no slice goes as picture. */
    final String pictureCodec;
    /** The codec's level. */
    final int pictureLevel;

    Slicing(JsonObject json) {
        json.objects("steps", false).forEach(this::readStep);
        pictures = json.int32("pictures", 0);
        pictureCodec = json.stringOrNull("picture_codec");
        pictureLevel = json.int32("picture_level", 0);
        json.end();
    }

    private void readStep(JsonObject json) {
        rows.add(json.pair("rows"));
        for (String name : new String[] {"device_ms", "nbytes", "server_ms"}) {
            json.number(name);
        }
        json.end();
    }
}
