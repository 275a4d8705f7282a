package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import java.io.Closeable;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** Where the bytes of a bundle lie. Paths were checked before they get here. */
interface Source extends Closeable {
    Set<String> names() throws IOException;

    long size(String name) throws IOException;

    InputStream open(String name) throws IOException;

    static Source of(File file) {
        return file.isDirectory() ? new Folder(file) : new Zip(file);
    }

    /** A bundle folder. */
    final class Folder implements Source {
        private final File root;

        Folder(File root) {
            this.root = root;
        }

        @Override
        public Set<String> names() {
            Set<String> names = new HashSet<>();
            collect(root, "", names);
            return names;
        }

        private static void collect(File folder, String prefix, Set<String> names) {
            File[] files = folder.listFiles();
            for (File file : files == null ? new File[0] : files) {
                if (file.isDirectory()) {
                    collect(file, prefix + file.getName() + "/", names);
                } else {
                    names.add(prefix + file.getName());
                }
            }
        }

        private File locate(String name) throws IOException {
            File file = new File(root, name);
            if (!file.getCanonicalPath().startsWith(root.getCanonicalPath() + File.separator)) {
                throw new BundleException(name + ": a link that leads out of the bundle");
            }
            return file;
        }

        @Override
        public long size(String name) throws IOException {
            return locate(name).length();
        }

        @Override
        public InputStream open(String name) throws IOException {
            return new FileInputStream(locate(name));
        }

        @Override
        public void close() {}
    }

    /** A {@code .cutpoint} file. */
    final class Zip implements Source {
        private final ZipFile zip;
        private final Set<String> names = new HashSet<>();

        Zip(File file) {
            try {
                zip = new ZipFile(file);
            } catch (IOException | IllegalArgumentException error) {
                throw new BundleException(file + ": not a readable .cutpoint file: " + error.getMessage(), error);
            }
            for (Enumeration<? extends ZipEntry> entries = zip.entries(); entries.hasMoreElements(); ) {
                if (!names.add(entries.nextElement().getName())) {
                    throw new BundleException(file + ": the .cutpoint file holds a name twice");
                }
            }
        }

        @Override
        public Set<String> names() {
            return names;
        }

        @Override
        public long size(String name) {
            return zip.getEntry(name).getSize();
        }

        @Override
        public InputStream open(String name) throws IOException {
            return zip.getInputStream(zip.getEntry(name));
        }

        @Override
        public void close() throws IOException {
            zip.close();
        }
    }
}
