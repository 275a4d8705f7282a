package dev.cutpoint.core.bundle;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.support.Vectors;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class BundleTest {
    private static final File DEMO = Vectors.root().resolve("examples/cutpoint/demo/scenes.cutpoint").toFile();

    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    private final Map<String, byte[]> files = new LinkedHashMap<>();

    @Before
    public void unzip() throws IOException {
        try (ZipFile zip = new ZipFile(DEMO)) {
            for (ZipEntry entry : Collections.list(zip.entries())) {
                try (InputStream in = zip.getInputStream(entry)) {
                    files.put(entry.getName(), in.readAllBytes());
                }
            }
        }
    }

    private File zipped() throws IOException {
        File file = folder.newFile();
        try (ZipOutputStream zip = new ZipOutputStream(new FileOutputStream(file))) {
            for (Map.Entry<String, byte[]> entry : files.entrySet()) {
                zip.putNextEntry(new ZipEntry(entry.getKey()));
                zip.write(entry.getValue());
            }
        }
        return file;
    }

    private File unpacked() throws IOException {
        Path root = folder.newFolder().toPath();
        for (Map.Entry<String, byte[]> entry : files.entrySet()) {
            Path file = root.resolve(entry.getKey());
            Files.createDirectories(file.getParent());
            Files.write(file, entry.getValue());
        }
        return root.toFile();
    }

    /** Refuses the bundle, changed like that, in both forms; the message names {@code named}. */
    private void refuses(String named, Consumer<Map<String, byte[]>> change) throws IOException {
        Map<String, byte[]> whole = new LinkedHashMap<>(files);
        change.accept(files);
        for (File file : new File[] {zipped(), unpacked()}) {
            String message = assertThrows(BundleException.class, () -> Bundle.open(file)).getMessage();
            assertTrue(message, message.contains(named));
        }
        files.clear();
        files.putAll(whole);
    }

    @Test
    public void bothFormsAreTheSameBundle() throws IOException {
        try (Bundle file = Bundle.open(DEMO);
                Bundle directory = Bundle.open(unpacked())) {
            assertEquals(file.hash(), directory.hash());
            assertEquals(file.points().size(), directory.points().size());
            assertEquals(file.points().size() - 1, file.pointNumber("cut9-int8"));
            assertTrue(file.point("cut9-int8").isLocal());
            assertEquals("logits", file.manifest().last().tensors.get(0).name());
            for (String path : files.keySet()) {
                assertEquals(!path.equals("manifest.json"), file.contains(path));
            }
            assertEquals(files.get("spans/0-1.int8.onnx").length, file.read("spans/0-1.int8.onnx").length);
        }
    }

    @Test
    public void aDevicePartHasTheSameHashAndNoTails() throws IOException {
        try (Bundle whole = Bundle.open(DEMO)) {
            for (FileEntry entry : whole.manifest().files) {
                if (entry.part.equals("server") || entry.part.equals("report")) {
                    files.remove(entry.path);
                }
            }
            try (Bundle part = Bundle.open(zipped())) {
                assertEquals(whole.hash(), part.hash());
                assertFalse(part.contains("spans/5-9.fp32.onnx"));
                assertThrows(BundleException.class, () -> part.read("spans/5-9.fp32.onnx"));
                assertTrue(part.contains("spans/0-5.int8.onnx"));
            }
        }
    }

    @Test
    public void damageIsNamed() throws IOException {
        refuses("0-5.int8.onnx is damaged", files -> files.get("spans/0-5.int8.onnx")[100] ^= 1);
        refuses("0-5.int8.onnx has 7 bytes", files -> files.put("spans/0-5.int8.onnx", new byte[7]));
        refuses("0-5.int8.onnx is missing", files -> files.remove("spans/0-5.int8.onnx"));
        refuses("manifest.json is missing", files -> files.remove("manifest.json"));
        refuses("schema 2", files -> files.put("manifest.json", "{\"schema\": 2}".getBytes(StandardCharsets.UTF_8)));
        refuses("over the limit", files -> files.put("manifest.json", new byte[Manifest.LIMIT + 1]));
        refuses("the text ends early", files -> files.put("manifest.json", new byte[0]));
    }

    @Test
    public void whatIsNoZipIsRefused() throws IOException {
        byte[] whole = Files.readAllBytes(DEMO.toPath());
        Random random = new Random(1);
        for (int i = 0; i < 20; i++) {
            File file = folder.newFile();
            Files.write(file.toPath(), Arrays.copyOf(whole, random.nextInt(whole.length)));
            assertThrows(BundleException.class, () -> Bundle.open(file));
        }
        assertThrows(BundleException.class, () -> Bundle.open(new File(folder.getRoot(), "nowhere")));
    }

    @Test
    public void aLinkOutOfTheFolderIsRefused() throws IOException {
        File directory = unpacked();
        Path span = directory.toPath().resolve("spans/0-5.int8.onnx");
        Path outside = folder.newFile().toPath();
        Files.move(span, outside, StandardCopyOption.REPLACE_EXISTING);
        Files.createSymbolicLink(span, outside);
        String message = assertThrows(BundleException.class, () -> Bundle.open(directory)).getMessage();
        assertTrue(message, message.contains("leads out of the bundle"));
    }
}
