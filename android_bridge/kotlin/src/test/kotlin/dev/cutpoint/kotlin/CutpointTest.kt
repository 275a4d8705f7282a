package dev.cutpoint.kotlin

import dev.cutpoint.core.bundle.Bundle
import dev.cutpoint.core.client.Mode
import dev.cutpoint.core.client.Picture
import dev.cutpoint.core.error.BundleException
import dev.cutpoint.core.support.ShapedRuntime
import dev.cutpoint.core.support.Vectors
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.asFlow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** The façade over a client that computes on the device only, on the demo's bundle. */
class CutpointTest {
    private val bundle = Bundle.open(Vectors.root().resolve("examples/cutpoint/demo/scenes.cutpoint").toFile())
    private val runtime = ShapedRuntime(bundle)

    private fun picture(grey: Int) = Picture.ofRgb(ByteArray(3 * 224 * 224) { grey.toByte() }, 224, 224)

    private suspend fun open() = Cutpoint.open {
        bundle(bundle)
        mode(Mode.DEVICE)
        runtime(runtime)
    }

    @Test
    fun answersOnePicture() = runBlocking {
        open().use { cutpoint ->
            val result = cutpoint.infer(picture(1))
            assertEquals(16, result.outputs[0].size())
            assertEquals(cutpoint.client.infer(picture(1)).get().outputs[0].argMax(), result.outputs[0].argMax())
        }
    }

    @Test
    fun answersAFlowInItsOrder() = runBlocking {
        open().use { cutpoint ->
            val greys = (0 until 40).toList()
            val expected = greys.map { cutpoint.infer(picture(it)).outputs[0].argMax() }
            assertTrue(expected.toSet().size > 3)
            val found = cutpoint.infer(greys.asFlow().map(::picture), inFlight = 3).map { it.outputs[0].argMax() }
            assertEquals(expected, found.toList())
            assertEquals(expected.take(5), found.take(5).toList())
        }
    }

    @Test
    fun cancellingACoroutineCancelsItsRequest() = runBlocking {
        open().use { cutpoint ->
            val gate = CountDownLatch(1)
            runtime.gate = gate
            val waiting = async(start = CoroutineStart.UNDISPATCHED) { cutpoint.infer(picture(1)) }
            val behind = async(start = CoroutineStart.UNDISPATCHED) { cutpoint.infer(picture(2)) }
            assertTrue(runtime.entered.tryAcquire(20, TimeUnit.SECONDS))
            behind.cancel()
            waiting.cancel()
            assertTrue(runCatching { waiting.await() }.exceptionOrNull() is CancellationException)
            gate.countDown()
            runtime.gate = null
            assertEquals(16, cutpoint.infer(picture(3)).outputs[0].size())
        }
    }

    @Test
    fun errorsAreThrown() = runBlocking {
        open().use { cutpoint ->
            val failure = runCatching { cutpoint.infer(picture(1), "no-such-point") }.exceptionOrNull()
            assertTrue(failure is BundleException)
        }
    }
}
