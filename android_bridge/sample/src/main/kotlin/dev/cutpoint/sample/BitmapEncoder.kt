package dev.cutpoint.sample

import android.graphics.Bitmap
import android.os.Build
import dev.cutpoint.core.runtime.PictureEncoder
import java.io.ByteArrayOutputStream

/** Android's own JPEG and WebP, for the points that send the picture itself. */
class BitmapEncoder : PictureEncoder {
    override fun supports(format: String): Boolean = format == "jpeg" || format == "webp"

    override fun encode(format: String, rgb: ByteArray, width: Int, height: Int, quality: Int): ByteArray {
        val pixels = IntArray(width * height) { i ->
            val red = rgb[3 * i].toInt() and 0xFF
            val green = rgb[3 * i + 1].toInt() and 0xFF
            val blue = rgb[3 * i + 2].toInt() and 0xFF
            (0xFF shl 24) or (red shl 16) or (green shl 8) or blue
        }
        val bitmap = Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)
        val out = ByteArrayOutputStream()
        bitmap.compress(compression(format), quality, out)
        bitmap.recycle()
        return out.toByteArray()
    }

    @Suppress("DEPRECATION") // WEBP is lossy below API level 30, where WEBP_LOSSY came.
    private fun compression(format: String) = when {
        format == "jpeg" -> Bitmap.CompressFormat.JPEG
        Build.VERSION.SDK_INT >= Build.VERSION_CODES.R -> Bitmap.CompressFormat.WEBP_LOSSY
        else -> Bitmap.CompressFormat.WEBP
    }
}
