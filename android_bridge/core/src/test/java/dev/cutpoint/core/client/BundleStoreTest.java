package dev.cutpoint.core.client;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.Refusal;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.support.Vectors;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.concurrent.atomic.AtomicInteger;
import okhttp3.OkHttpClient;
import org.junit.After;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class BundleStoreTest {
    private static final String HASH;
    private static final byte[] DEMO;

    static {
        try {
            File file = Vectors.root().resolve("examples/cutpoint/demo/scenes.cutpoint").toFile();
            DEMO = Files.readAllBytes(file.toPath());
            try (Bundle bundle = Bundle.open(file)) {
                HASH = bundle.hash();
            }
        } catch (IOException error) {
            throw new ExceptionInInitializerError(error);
        }
    }

    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    private final OkHttpClient client = new OkHttpClient();
    private final AtomicInteger downloads = new AtomicInteger();
    private HttpServer server;
    private String url;
    private BundleStore store;
    private String offer = "{\"hash\": \"" + HASH + "\", \"name\": \"scenes\", \"size\": " + DEMO.length + "}";
    private byte[] sent = DEMO;

    @Before
    public void serve() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/v1/bundle", exchange -> {
            boolean known = "Bearer secret".equals(exchange.getRequestHeaders().getFirst("Authorization"));
            boolean whole = !exchange.getRequestURI().getPath().equals("/v1/bundle");
            byte[] body = whole ? sent : offer.getBytes(StandardCharsets.UTF_8);
            downloads.addAndGet(whole ? 1 : 0);
            exchange.sendResponseHeaders(known ? 200 : 401, known ? body.length : -1);
            if (known) {
                exchange.getResponseBody().write(body);
            }
            exchange.close();
        });
        server.start();
        url = "ws://127.0.0.1:" + server.getAddress().getPort() + "/ignored?too=yes";
        store = new BundleStore(new File(folder.getRoot(), "bundles"));
    }

    @After
    public void stop() {
        server.stop(0);
    }

    private void fetch() throws IOException {
        try (Bundle bundle = store.fetch(client, url, "secret")) {
            assertEquals(HASH, bundle.hash());
        }
    }

    private String[] kept() {
        return new File(folder.getRoot(), "bundles").list();
    }

    @Test
    public void fetchesOnceAndDropsWhatIsOlder() throws IOException {
        File old = new File(folder.getRoot(), "bundles/0.cutpoint");
        assertTrue(old.getParentFile().mkdir() && old.createNewFile());
        assertTrue(new File(folder.getRoot(), "bundles/killed.part").createNewFile());
        fetch();
        fetch();
        assertEquals(1, downloads.get());
        assertEquals(HASH + ".cutpoint", String.join(" ", kept()));
    }

    @Test
    public void aDamagedCopyIsFetchedAgain() throws IOException {
        fetch();
        File copy = new File(folder.getRoot(), "bundles/" + HASH + ".cutpoint");
        Files.write(copy.toPath(), new byte[100]);
        fetch();
        assertEquals(2, downloads.get());
    }

    @Test
    public void withoutAServerTheNewestIsTaken() throws IOException {
        assertNull(store.newest());
        fetch();
        server.stop(0);
        try (Bundle bundle = store.fetchOrNewest(client, url, "secret")) {
            assertEquals(HASH, bundle.hash());
        }
        assertThrows(LinkException.class, () -> store.fetch(client, url, "secret"));
    }

    @Test
    public void aWrongTokenIsARefusal() {
        RefusedException error =
                assertThrows(RefusedException.class, () -> store.fetchOrNewest(client, url, "wrong"));
        assertEquals(Refusal.UNAUTHENTICATED, error.refusal());
    }

    @Test
    public void whatIsNotTheBundleThatWasAnnouncedLeavesNothing() {
        sent = new byte[1000];
        assertThrows(BundleException.class, () -> store.fetch(client, url, "secret"));
        sent = new byte[DEMO.length + 1];
        assertThrows(BundleException.class, () -> store.fetch(client, url, "secret"));
        sent = DEMO;
        offer = offer.replace(HASH, HASH.replace('a', 'b'));
        assertThrows(BundleException.class, () -> store.fetch(client, url, "secret"));
        assertEquals(0, kept().length);
    }

    @Test
    public void anOfferThatIsNoneIsRefused() {
        for (String text : new String[] {"", "[]", "{}", "{\"hash\": \"../x\", \"size\": 5}", "{\"hash\": 5}"}) {
            offer = text;
            assertThrows(text, BundleException.class, () -> store.fetch(client, url, "secret"));
        }
    }
}
