package dev.cutpoint.sample

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle
import android.view.Gravity
import android.widget.FrameLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import androidx.lifecycle.lifecycleScope
import dev.cutpoint.core.client.BundleStore
import dev.cutpoint.core.client.InferenceResult
import dev.cutpoint.core.client.Picture
import dev.cutpoint.core.error.CutpointException
import dev.cutpoint.core.policy.Objective
import dev.cutpoint.kotlin.Cutpoint
import dev.cutpoint.runtime.onnx.OnnxRuntime
import java.io.File
import java.util.concurrent.Executors
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.receiveAsFlow
import kotlinx.coroutines.launch

/** The camera's picture, and what the model sees in it. */
class MainActivity : ComponentActivity() {
    private lateinit var preview: PreviewView
    private lateinit var text: TextView
    private val analysis = Executors.newSingleThreadExecutor()
    private val frames = Channel<Picture>(Channel.CONFLATED) // only the newest frame matters

    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) start() else text.setText(R.string.needs_camera)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        preview = PreviewView(this)
        text = TextView(this).apply { textSize = 20f }
        setContentView(
            FrameLayout(this).apply {
                addView(preview)
                addView(text, FrameLayout.LayoutParams(-1, -2, Gravity.BOTTOM))
            },
        )
        val granted = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED
        if (granted) start() else permission.launch(Manifest.permission.CAMERA)
    }

    override fun onDestroy() {
        super.onDestroy()
        analysis.shutdown()
    }

    private fun start() {
        startCamera()
        lifecycleScope.launch {
            try {
                infer()
            } catch (error: CutpointException) {
                text.text = error.message
            }
        }
    }

    private suspend fun infer() {
        val cutpoint = Cutpoint.open {
            server(BuildConfig.SERVER)
            store(BundleStore(File(filesDir, "cutpoint")))
            runtime(OnnxRuntime(cacheDir, 2))
            pictureEncoder(BitmapEncoder())
            objective(Objective.builder().deadline(0.2).build())
        }
        cutpoint.use {
            val labels = it.client.bundle().manifest().task.labels
            it.infer(frames.receiveAsFlow(), inFlight = 2).collect { result -> show(result, labels) }
        }
    }

    private fun show(result: InferenceResult, labels: List<String>) {
        val best = result.outputs[0].argMax()
        val label = labels.getOrElse(best) { "class $best" }
        val where = result.source.name.lowercase()
        text.text = "$label – %.0f ms, $where, ${result.bytesSent} B".format(result.timing.total)
    }

    private fun startCamera() {
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({
            val shown = Preview.Builder().build().also { it.surfaceProvider = preview.surfaceProvider }
            val analysed = ImageAnalysis.Builder()
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .build()
            analysed.setAnalyzer(analysis) { image -> image.use { frames.trySend(toPicture(it)) } }
            provider.get().bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, shown, analysed)
        }, ContextCompat.getMainExecutor(this))
    }

    private fun toPicture(image: ImageProxy): Picture {
        val plane = image.planes[0]
        val picture = Picture.ofRgba(plane.buffer, image.width, image.height, plane.rowStride)
        return picture.rotated(image.imageInfo.rotationDegrees)
    }
}
