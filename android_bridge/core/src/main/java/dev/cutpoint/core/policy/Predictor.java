package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Measurement;
import dev.cutpoint.core.bundle.Point;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Predicts latency and energy of all points at once.
 *
 * <p>latency = queue + (head + encoder) · device scale + (unanswered + payload) · 8 / uplink + rtt
 * + answer · 8 / downlink + server's queue + (decoder + tail) · server scale.
 */
final class Predictor {
    /** Bytes that a request and its frames add to the payload on the wire. */
    private static final double OVERHEAD_BYTES = 120;
    /** Where there is none, only points that need none are predicted. */
    private static final Channel NO_LINK = new Channel(Channel.MAX_RATE, 0, 0, Channel.MAX_RATE, 0, 0);

    final List<Point> points;
    final EnergyModel energy;
    /** How many of the points are local. */
    final int local;

    private final double answerBytes;

    /**
     * @param points local ones first
     * @param energy of the device
     * @param answerBytes size of a result
     */
    Predictor(List<Point> points, EnergyModel energy, double answerBytes) {
        this.points = Collections.unmodifiableList(new ArrayList<>(points));
        this.energy = energy;
        this.answerBytes = answerBytes;
        int count = 0;
        while (count < points.size() && points.get(count).isLocal()) {
            count++;
        }
        local = count;
    }

    /** The prediction; without a link, or for a server that drains, of the local points only. */
    Prediction predict(Conditions conditions) {
        boolean linked = conditions.linked();
        Channel channel = linked ? conditions.channel : NO_LINK;
        double[] rates = channel.uplinks();
        double[] trips = channel.roundTrips();
        double[] chances = channel.probabilities();
        double afterMs = conditions.server.queueMs + answerBytes * 8e3 / channel.downlink;
        double[] byteMs = new double[rates.length];
        double[] waitMs = new double[rates.length];
        double meanByteMs = 0;
        for (int i = 0; i < rates.length; i++) {
            byteMs[i] = 8e3 / rates[i];
            meanByteMs += chances[i] * byteMs[i];
            waitMs[i] = trips[i] * 1e3 + conditions.unanswered * byteMs[i] + afterMs;
        }
        // The radio's base power lasts as long as the upload: what counts is the mean of 1 / rate.
        Radio radio = conditions.radio == null ? energy.radio : conditions.radio;
        double byteMj = radio.sendMj(1, 8e3 / meanByteMs);
        double answerMj = radio.receiveMj(answerBytes, channel.downlink);

        Prediction result = new Prediction(chances, linked ? points.size() : local);
        for (int i = 0; i < result.deviceMs.length; i++) {
            Point point = points.get(i);
            Measurement measured = point.measured;
            result.deviceMs[i] = deviceMs(measured) * conditions.deviceScale + conditions.deviceQueueMs;
            result.energyMj[i] = computeMj(measured) * conditions.deviceScale;
            double bytes = 0;
            if (!point.isLocal()) {
                bytes = measured.bytesMean + OVERHEAD_BYTES;
                result.serverMs[i] = serverMs(measured) * conditions.serverScale;
                result.energyMj[i] += bytes * byteMj + answerMj;
            }
            for (int j = 0; j < rates.length; j++) {
                double remote = point.isLocal() ? 0 : bytes * byteMs[j] + waitMs[j] + result.serverMs[i];
                result.latencyMs[i][j] = result.deviceMs[i] + remote;
            }
        }
        return result;
    }

    private double computeMj(Measurement measured) {
        return measured.energyMj == null ? energy.computeMj(deviceMs(measured)) : measured.energyMj;
    }

    static double deviceMs(Measurement measured) {
        return measured.deviceMs + measured.encodeMs;
    }

    static double serverMs(Measurement measured) {
        return measured.decodeMs + measured.tailMs;
    }
}
