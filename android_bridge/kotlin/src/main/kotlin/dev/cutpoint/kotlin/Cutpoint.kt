package dev.cutpoint.kotlin

import dev.cutpoint.core.client.Builder
import dev.cutpoint.core.client.CutpointClient
import dev.cutpoint.core.client.InferenceListener
import dev.cutpoint.core.client.InferenceResult
import dev.cutpoint.core.client.Picture
import dev.cutpoint.core.tensor.Tensor
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.future.await
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Semaphore

/** A [CutpointClient] for coroutines. Cancelling a coroutine that waits here cancels its request, on the server too. */
public class Cutpoint(public val client: CutpointClient) : AutoCloseable {
    /** Answers one picture; throws as the future of [CutpointClient.infer] fails. */
    public suspend fun infer(picture: Picture): InferenceResult = client.infer(picture).await()

    /** The same, at a point of the caller's choice. */
    public suspend fun infer(picture: Picture, point: String): InferenceResult = client.infer(picture, point).await()

    /** The same, for a bundle that takes no pictures. */
    public suspend fun infer(tensors: List<Tensor>): InferenceResult = client.infer(tensors).await()

    /**
     * Answers a sequence of pictures, in their order. At points whose codec is for streams, what the last answered
     * frame had already is not sent again. Put `conflate()` before it where only the newest frame of a camera matters.
     *
     * @param inFlight how many may be under way at a time
     */
    public fun infer(frames: Flow<Picture>, inFlight: Int = 4): Flow<InferenceResult> = channelFlow {
        val room = Semaphore(inFlight)
        val answers = Channel<Result<InferenceResult>>(Channel.UNLIMITED) // never more than `inFlight`
        val listener = object : InferenceListener {
            override fun onResult(result: InferenceResult) {
                answers.trySend(Result.success(result))
            }

            override fun onError(error: RuntimeException) {
                answers.trySend(Result.failure(error))
            }
        }
        client.stream(inFlight, Runnable::run, listener).use { stream ->
            launch {
                frames.collect { frame ->
                    room.acquire()
                    stream.offer(frame)
                }
                repeat(inFlight) { room.acquire() } // when all have been answered
                answers.close()
            }
            for (answer in answers) {
                send(answer.getOrThrow())
                room.release()
            }
        }
    }

    /** Closes the client. */
    override fun close(): Unit = client.close()

    public companion object {
        /** Opens a client without blocking: `Cutpoint.open { server("wss://…"); runtime(…) }`. */
        public suspend fun open(configure: Builder.() -> Unit): Cutpoint =
            Cutpoint(CutpointClient.builder().apply(configure).openAsync().await())
    }
}
