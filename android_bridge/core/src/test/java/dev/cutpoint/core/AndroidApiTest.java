package dev.cutpoint.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.client.CutpointClient;
import java.io.DataInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.junit.Test;

/**
 * The core refers to nothing that Android of API level 24 lacks, as far as names of packages and of some well-known
 * methods tell. (The Android SDK's own check needs the Android SDK.)
 */
public class AndroidApiTest {
    /** Packages and classes of the JDK that came to Android later, or never. */
    private static final List<String> CLASSES = Arrays.asList(
            "java/nio/file/", "java/time/", "java/util/Base64", "java/util/concurrent/Flow", "java/lang/management/",
            "java/lang/invoke/VarHandle", "java/net/http/", "javax/management/", "sun/", "jdk/", "com/sun/");
    /** Methods of level 26 and later whose names nothing else has. */
    private static final List<String> METHODS = Arrays.asList(
            "compareUnsigned", "toUnsignedLong", "toUnsignedString", "parseUnsignedInt", "divideUnsigned",
            "withInitial", "orTimeout", "completeOnTimeout", "readAllBytes", "transferTo", "isBlank", "failedFuture");

    @Test
    public void referencesAreOldEnough() throws Exception {
        List<String> found = new ArrayList<>();
        int classes = 0;
        File jar = new File(CutpointClient.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        try (JarFile file = new JarFile(jar)) {
            for (JarEntry entry : Collections.list(file.entries())) {
                if (entry.getName().endsWith(".class")) {
                    classes++;
                    for (String name : names(file.getInputStream(entry))) {
                        boolean late = CLASSES.stream().anyMatch(prefix -> name.startsWith(prefix)
                                || name.contains("L" + prefix));
                        if (late || METHODS.contains(name)) {
                            found.add(entry.getName() + ": " + name);
                        }
                    }
                }
            }
        }
        assertTrue(classes > 80);
        assertEquals(Collections.emptyList(), found);
    }

    /** The texts in a class file's table of constants: names of classes and methods, descriptors, strings. */
    private static List<String> names(InputStream stream) throws IOException {
        List<String> names = new ArrayList<>();
        try (DataInputStream in = new DataInputStream(stream)) {
            in.readLong(); // magic and version
            int constants = in.readUnsignedShort();
            for (int i = 1; i < constants; i++) {
                int tag = in.readUnsignedByte();
                switch (tag) {
                    case 1:
                        names.add(in.readUTF());
                        break;
                    case 5:
                    case 6:
                        in.readLong();
                        i++; // takes two places
                        break;
                    case 7:
                    case 8:
                    case 16:
                    case 19:
                    case 20:
                        in.readShort();
                        break;
                    case 15:
                        in.readByte();
                        in.readShort();
                        break;
                    default:
                        in.readInt();
                }
            }
        }
        return names;
    }
}
