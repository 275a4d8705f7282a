package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.Refusal;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.json.JsonException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import okhttp3.HttpUrl;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;

/**
 * A folder for bundles that a server serves, each under its hash. A model that was calibrated anew reaches the app when
 * it next opens a client, without a release. Blocking: not for the main thread.
 */
public final class BundleStore {
    /** A device part of more bytes is refused. */
    private static final long MAX_BYTES = 1 << 30;
    private static final int MAX_OFFER_BYTES = 1 << 16;
    private static final String ENDING = ".cutpoint";
    private static final String PART = ".part";
    private static final Pattern HASH = Pattern.compile("[0-9a-f]{64}");
    /** For the next bytes, and for all of them. */
    private static final int SILENCE_SECONDS = 30;

    private static final int LONGEST_SECONDS = 600;

    private final File folder;

    /**
     * @param folder of the store's own, for instance {@code new File(context.getFilesDir(), "cutpoint")}
     */
    public BundleStore(File folder) {
        this.folder = folder;
    }

    /**
     * The device part of the bundle that a server serves now: from the folder where it is there, else downloaded and
     * verified. Older bundles are deleted then.
     *
     * @param client the app's
     * @param url the server, {@code ws://…} or {@code wss://…}
     * @param token bearer token; empty for none
     * @throws LinkException if the server cannot be reached
     * @throws RefusedException if it does not take the token
     * @throws BundleException if what it sends is not the bundle that it announced
     */
    public Bundle fetch(OkHttpClient client, String url, String token) {
        HttpUrl parsed = HttpUrl.parse(url.replaceFirst("^ws", "http"));
        if (parsed == null) {
            throw new LinkException(url + " is not a server's address");
        }
        HttpUrl base = parsed.newBuilder().encodedPath("/v1/bundle").query(null).build();
        OkHttpClient http = client.newBuilder()
                .readTimeout(SILENCE_SECONDS, TimeUnit.SECONDS)
                .callTimeout(LONGEST_SECONDS, TimeUnit.SECONDS)
                .build();
        try {
            ByteArrayOutputStream text = new ByteArrayOutputStream();
            get(http, base, token, MAX_OFFER_BYTES, text);
            JsonObject offer = new JsonObject(JsonReader.parse(text.toByteArray()), "the offer");
            String hash = offer.string("hash");
            long size = offer.integer("size");
            if (!HASH.matcher(hash).matches()) {
                throw new BundleException(url + ": announces a bundle without a proper hash");
            }
            Bundle there = openIfWhole(fileOf(hash), hash);
            return there != null ? there : download(http, base, token, hash, Math.min(size, MAX_BYTES));
        } catch (JsonException error) {
            throw new BundleException(url + ": does not announce a bundle: " + error.getMessage(), error);
        } catch (IOException error) {
            throw new LinkException(url + ": the bundle cannot be fetched: " + error, error);
        }
    }

    /** As {@link #fetch}; without a connection the bundle that was fetched last, if there is one. */
    public Bundle fetchOrNewest(OkHttpClient client, String url, String token) {
        try {
            return fetch(client, url, token);
        } catch (LinkException error) {
            Bundle newest = newest();
            if (newest == null) {
                throw error;
            }
            return newest;
        }
    }

    /** The bundle that was fetched last; null if there is none, or it is damaged. */
    public Bundle newest() {
        File newest = null;
        for (File file : files(ENDING)) {
            if (newest == null || file.lastModified() > newest.lastModified()) {
                newest = file;
            }
        }
        return newest == null ? null : openIfWhole(newest, newest.getName().replace(ENDING, ""));
    }

    private Bundle download(OkHttpClient http, HttpUrl base, String token, String hash, long limit)
            throws IOException {
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new BundleException(folder + " cannot be made");
        }
        delete(PART, null); // of a download that was killed
        File temporary = File.createTempFile(hash, PART, folder);
        try {
            try (FileOutputStream out = new FileOutputStream(temporary)) {
                get(http, base.newBuilder().addPathSegment(hash).build(), token, limit, out);
                out.getFD().sync();
            }
            try (Bundle bundle = Bundle.open(temporary)) {
                if (!bundle.hash().equals(hash)) {
                    throw new BundleException(base + ": sent bundle " + bundle.hash() + ", announced " + hash);
                }
            }
            File file = fileOf(hash);
            if (!temporary.renameTo(file)) {
                throw new BundleException(file + " cannot be written");
            }
            delete(ENDING, file);
            return Bundle.open(file);
        } finally {
            temporary.delete();
        }
    }

    private File fileOf(String hash) {
        return new File(folder, hash + ENDING);
    }

    private File[] files(String ending) {
        File[] files = folder.listFiles((parent, name) -> name.endsWith(ending));
        return files == null ? new File[0] : files;
    }

    private void delete(String ending, File except) {
        for (File file : files(ending)) {
            if (!file.equals(except)) {
                file.delete();
            }
        }
    }

    /** The bundle in {@code file}; null if it is not there or not that bundle: a damaged one is fetched again. */
    private static Bundle openIfWhole(File file, String hash) {
        if (!file.isFile()) {
            return null;
        }
        try {
            Bundle bundle = Bundle.open(file);
            if (bundle.hash().equals(hash)) {
                return bundle;
            }
            bundle.close();
        } catch (BundleException | IOException damaged) {
            // As if it were not there.
        }
        return null;
    }

    private static void get(OkHttpClient http, HttpUrl url, String token, long limit, OutputStream out)
            throws IOException {
        Request.Builder request = new Request.Builder().url(url);
        if (!token.isEmpty()) {
            request.header("Authorization", "Bearer " + token);
        }
        try (Response response = http.newCall(request.build()).execute()) {
            if (response.code() == 401) {
                throw new RefusedException(
                        Refusal.UNAUTHENTICATED, url + ": the server does not take the token", null);
            }
            if (response.code() != 200) {
                throw new LinkException(url + ": the server answered " + response.code());
            }
            InputStream in = response.body().byteStream();
            byte[] buffer = new byte[1 << 16];
            long got = 0;
            for (int more = in.read(buffer); more >= 0; more = in.read(buffer)) {
                got += more;
                if (got > limit) {
                    throw new BundleException(url + ": sends more than the " + limit + " bytes it announced");
                }
                out.write(buffer, 0, more);
            }
        }
    }
}
