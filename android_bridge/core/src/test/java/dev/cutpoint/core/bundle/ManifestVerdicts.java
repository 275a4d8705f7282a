package dev.cutpoint.core.bundle;

import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;

/** Whether the reader takes each manifest of a file. */
public final class ManifestVerdicts {
    private ManifestVerdicts() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.judge(arguments, data -> {
            try {
                Manifest.parse(data);
                return "taken";
            } catch (BundleException error) {
                return "refused";
            }
        });
    }
}
