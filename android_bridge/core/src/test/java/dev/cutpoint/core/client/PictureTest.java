package dev.cutpoint.core.client;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import dev.cutpoint.core.error.InputException;
import java.nio.ByteBuffer;
import org.junit.Test;

public class PictureTest {
    /** Two pixels wide, one high: red 1, 2, 3 and 4, 5, 6. */
    private static final byte[] RGB = {1, 2, 3, 4, 5, 6};

    @Test
    public void everyFormGivesTheSamePixels() {
        assertArrayEquals(RGB, Picture.ofRgb(RGB, 2, 1).rgb);
        assertArrayEquals(RGB, Picture.ofArgb(new int[] {0xFF010203, 0x00040506}, 2, 1).rgb);
        ByteBuffer padded = ByteBuffer.wrap(new byte[] {9, 1, 2, 3, 0, 4, 5, 6, 0, 9, 9, 9, 9});
        padded.position(1);
        assertArrayEquals(RGB, Picture.ofRgba(padded, 2, 1, 12).rgb);
    }

    @Test
    public void rowsOfABufferMayBeFartherApart() {
        byte[] rows = {1, 2, 3, 0, 99, 99, 4, 5, 6, 0};
        assertArrayEquals(RGB, Picture.ofRgba(ByteBuffer.wrap(rows), 1, 2, 6).rgb);
    }

    @Test
    public void turnsClockwise() {
        Picture turned = Picture.ofRgb(RGB, 2, 1).rotated(90);
        assertEquals(1, turned.width);
        assertEquals(2, turned.height);
        assertArrayEquals(RGB, turned.rgb);
        assertArrayEquals(new byte[] {4, 5, 6, 1, 2, 3}, Picture.ofRgb(RGB, 2, 1).rotated(180).rgb);
        assertArrayEquals(new byte[] {4, 5, 6, 1, 2, 3}, Picture.ofRgb(RGB, 2, 1).rotated(-90).rgb);
        assertThrows(InputException.class, () -> turned.rotated(45));
    }

    @Test
    public void sizesAreChecked() {
        assertThrows(InputException.class, () -> Picture.ofRgb(RGB, 2, 2));
        assertThrows(InputException.class, () -> Picture.ofArgb(new int[0], 0, 0));
        assertThrows(InputException.class, () -> Picture.ofRgba(ByteBuffer.allocate(7), 2, 1, 8));
        assertThrows(InputException.class, () -> Picture.ofRgba(ByteBuffer.allocate(80), 2, 1, 7));
    }
}
