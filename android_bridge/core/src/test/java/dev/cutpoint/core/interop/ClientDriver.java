package dev.cutpoint.core.interop;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.client.Builder;
import dev.cutpoint.core.client.BundleStore;
import dev.cutpoint.core.client.CutpointClient;
import dev.cutpoint.core.client.FrameStream;
import dev.cutpoint.core.client.InferenceListener;
import dev.cutpoint.core.client.InferenceResult;
import dev.cutpoint.core.client.Mode;
import dev.cutpoint.core.client.Picture;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.json.JsonWriter;
import dev.cutpoint.core.link.LinkTimes;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.StaticPolicy;
import dev.cutpoint.core.support.PrecomputedRuntime;
import dev.cutpoint.core.support.Waiting;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * A client that another program drives: a command a line on standard input, a JSON object a line on standard output.
 *
 * <p>{@code open URL BUNDLE|store:FOLDER MODE RECORDING DEADLINE POINT TOKEN}, each {@code -} for none; {@code begin ID
 * PICTURE POINT}; {@code await ID}; {@code cancel ID}; {@code stream COUNT PICTURE…}; {@code wait-connected}; {@code
 * close}.
 */
public final class ClientDriver {
    /** Reconnects within a tenth of a second. */
    private static final LinkTimes QUICK = new LinkTimes(5, 0.2, 2, 0.01, 0.1, 0.1);

    private final Map<String, CompletableFuture<InferenceResult>> underWay = new HashMap<>();
    private CutpointClient client;

    private ClientDriver() {}

    public static void main(String[] arguments) throws IOException {
        ClientDriver driver = new ClientDriver();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonWriter out = new JsonWriter().begin('{');
            try {
                driver.obey(line.split(" "), out);
            } catch (ExecutionException error) {
                describe(error.getCause(), out);
            } catch (Exception error) {
                describe(error, out);
            }
            System.out.println(new String(out.end('}').toBytes(), StandardCharsets.UTF_8));
            System.out.flush();
        }
        System.exit(0); // OkHttp's threads would linger
    }

    private static void describe(Throwable error, JsonWriter out) {
        out.name("error").value(error.getClass().getSimpleName()).name("message").value(error.getMessage());
        if (error instanceof RefusedException) {
            out.name("code").value(((RefusedException) error).refusal().code());
        }
    }

    private void obey(String[] words, JsonWriter out) throws Exception {
        switch (words[0]) {
            case "open":
                open(words);
                out.name("bundle").value(client.bundle().hash());
                break;
            case "begin":
                Picture picture = picture(words[2]);
                underWay.put(words[1], words[3].equals("-") ? client.infer(picture) : client.infer(picture, words[3]));
                break;
            case "await":
                try {
                    write(underWay.remove(words[1]).get(), out);
                } catch (CancellationException error) {
                    out.name("cancelled").value(true);
                }
                break;
            case "cancel":
                underWay.get(words[1]).cancel(false);
                break;
            case "stream":
                stream(words, out);
                break;
            case "wait-connected":
                Waiting.until(client::isConnected);
                out.name("connected").value(true);
                break;
            case "close":
                client.close();
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private void open(String[] words) {
        Builder builder = CutpointClient.builder()
                .mode(Mode.valueOf(words[3].toUpperCase()))
                .runtime(new PrecomputedRuntime(Paths.get(words[4])))
                .linkTimes(QUICK);
        if (!words[1].equals("-")) {
            builder.server(words[1]);
        }
        if (words[2].startsWith("store:")) {
            builder.store(new BundleStore(new File(words[2].substring(6))));
        } else {
            Bundle bundle = Bundle.open(new File(words[2]));
            builder.bundle(bundle);
            if (!words[6].equals("-")) {
                builder.policy(new StaticPolicy(
                        bundle.point(words[6]),
                        bundle.points().stream().filter(point -> point.isLocal()).findFirst().get()));
            }
        }
        if (!words[5].equals("-")) {
            builder.objective(Objective.builder().deadline(Double.parseDouble(words[5])).accuracyFloor(0).build());
        } else {
            builder.objective(Objective.builder().patience(1000).accuracyFloor(0).build()); // no hedging
        }
        if (!words[7].equals("-")) {
            builder.token(words[7]);
        }
        client = builder.open();
    }

    /** A square picture, three bytes a pixel. */
    private static Picture picture(String path) throws IOException {
        Path file = Paths.get(path);
        byte[] rgb = Files.readAllBytes(file);
        int side = (int) Math.round(Math.sqrt(rgb.length / 3.0));
        return Picture.ofRgb(rgb, side, side);
    }

    private static void write(InferenceResult result, JsonWriter out) {
        out.name("label").value(result.outputs.get(0).argMax());
        out.name("point").value(result.point.id).name("source").value(result.source.name().toLowerCase());
        out.name("bytes").value(result.bytesSent).name("hedged").value(result.hedged);
        out.name("fallback").value(result.fallback == null ? null : result.fallback.getMessage());
        out.name("total_ms").value(result.timing.total).name("network_ms").value(result.timing.network);
    }

    private void stream(String[] words, JsonWriter out) throws Exception {
        int frames = Integer.parseInt(words[1]);
        CompletableFuture<Void> done = new CompletableFuture<>();
        StringBuilder labels = new StringBuilder();
        int[] heard = new int[2];
        InferenceListener listener = new InferenceListener() {
            @Override
            public void onResult(InferenceResult result) {
                synchronized (heard) {
                    labels.append(labels.length() > 0 ? "," : "").append(result.outputs.get(0).argMax());
                    heard[1] += result.bytesSent;
                    if (++heard[0] == frames) {
                        done.complete(null);
                    }
                    heard.notifyAll();
                }
            }

            @Override
            public void onError(RuntimeException error) {
                done.completeExceptionally(error);
            }
        };
        try (FrameStream stream = client.stream(4, Runnable::run, listener)) {
            for (int i = 0; i < frames; i++) {
                Picture picture = picture(words[2 + i % (words.length - 2)]);
                synchronized (heard) {
                    while (!stream.hasRoom() && !done.isCompletedExceptionally()) {
                        heard.wait();
                    }
                }
                stream.offer(picture);
            }
            done.get();
        }
        out.name("labels").value(labels.toString()).name("bytes").value(heard[1]);
    }
}
