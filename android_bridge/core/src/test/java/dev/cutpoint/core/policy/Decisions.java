package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.json.JsonWriter;
import dev.cutpoint.core.protocol.ServerState;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What policy, belief and energy model make of each case of a file, in JSON. */
public final class Decisions {
    private Decisions() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.transform(arguments, block -> {
            JsonObject json = new JsonObject(JsonReader.parse(block), "case");
            JsonWriter out = new JsonWriter().begin('{');
            switch (json.string("kind")) {
                case "adaptive":
                    decide(json, adaptive(json), out);
                    break;
                case "static":
                    List<Point> points = points(json);
                    decide(json, new StaticPolicy(points.get(1), points.get(0)), out);
                    break;
                case "channel":
                    believe(json, out);
                    break;
                default:
                    spend(json, out);
            }
            return out.end('}').toBytes();
        });
    }

    private static List<Point> points(JsonObject json) {
        List<Point> points = new ArrayList<>();
        for (JsonObject point : json.objects("points", false)) {
            points.add(Point.of(point));
        }
        return points;
    }

    private static Policy adaptive(JsonObject json) {
        JsonObject wanted = json.object("objective");
        Objective.Builder builder = Objective.preset(
                Objective.Preset.valueOf(wanted.string("preset").toUpperCase(Locale.ROOT)));
        if (wanted.has("deadline")) {
            builder.deadline(wanted.number("deadline"));
        }
        builder.hedgePrice(wanted.number("hedge_price"));
        builder.hedgeShare(wanted.number("hedge_share"));
        builder.hysteresis(wanted.number("hysteresis"));
        if (wanted.bool("own_cost", false)) {
            builder.cost(it -> it.latencyMs
                    + 0.1 * it.lateMs
                    + 0.2 * it.energyMj
                    + 500 * it.loss
                    + 0.01 * it.serverMs
                    + 3 * it.missed);
        }
        Radio radio = Radio.of(json.string("radio"));
        List<Point> points = Selection.admissible(points(json), json.number("floor"));
        EnergyModel energy = new EnergyModel(radio, json.number("compute_mw"));
        return new AdaptivePolicy(points, builder.build(), json.number("uncut"), energy, json.number("answer_bytes"));
    }

    private static void decide(JsonObject json, Policy policy, JsonWriter out) {
        ChannelEstimator estimator = new ChannelEstimator();
        out.name("plans").begin('[');
        for (JsonObject step : json.objects("steps", false)) {
            for (JsonObject seen : step.objects("seen", false)) {
                observe(estimator, seen);
            }
            Plan plan = policy.choose(conditions(step, estimator));
            out.begin('{').name("point").value(plan.point.id);
            out.name("predicted_ms").value(plan.predictedMs).name("device_ms").value(plan.deviceMs);
            out.name("energy_mj").value(plan.energyMj).name("cost").value(plan.cost).name("hedge_ms");
            if (plan.hedgeMs == null) {
                out.value((String) null);
            } else {
                out.value(plan.hedgeMs.doubleValue());
            }
            out.name("runners_up").begin('[');
            for (Alternative other : plan.runnersUp) {
                out.begin('[').value(other.point.id).value(other.cost).value(other.latencyMs).value(other.energyMj);
                out.end(']');
            }
            out.end(']').end('}');
        }
        out.end(']');
    }

    private static Conditions conditions(JsonObject step, ChannelEstimator estimator) {
        JsonObject server = step.object("server");
        JsonObject device = step.object("device");
        boolean up = step.bool("up", false);
        return new Conditions(
                up ? estimator.channel(step.number("now"), step.number("late"), step.number("waiting")) : null,
                new ServerState(server.number("queue_ms"), server.number("price"), server.bool("draining", false), false),
                step.number("device_scale"),
                step.number("server_scale"),
                step.number("device_queue_ms"),
                step.number("unanswered"),
                new DeviceState(
                        device.has("temperature") ? (Double) device.number("temperature") : null,
                        device.has("battery") ? (Double) device.number("battery") : null,
                        device.bool("charging", false)),
                step.has("network") ? Network.of(step.string("network")).radio : null);
    }

    private static void observe(ChannelEstimator estimator, JsonObject seen) {
        double now = seen.number("now");
        switch (seen.string("what")) {
            case "upload":
                estimator.observeUpload(seen.number("bytes"), seen.number("seconds"), now);
                break;
            case "spacing":
                estimator.observeSpacing(seen.number("bytes"), seen.number("seconds"), now);
                break;
            case "rtt":
                estimator.observeRtt(seen.number("seconds"));
                break;
            case "delivery":
                estimator.observeDelivery(seen.number("bytes"), seen.number("seconds"), now);
                break;
            case "network":
                estimator.networkChanged(Network.of(seen.string("network")));
                break;
            default:
                estimator.observeAnswer(
                        seen.int32s("sizes"),
                        seen.numbers("arrivals"),
                        seen.number("network"),
                        seen.number("answer"),
                        now);
        }
    }

    private static void believe(JsonObject json, JsonWriter out) {
        ChannelEstimator estimator = new ChannelEstimator();
        out.name("beliefs").begin('[');
        for (JsonObject seen : json.objects("seen", false)) {
            observe(estimator, seen);
            double now = seen.number("now") + seen.number("silence");
            Channel channel = estimator.channel(now, seen.number("late"), seen.number("waiting"));
            out.begin('[');
            out.value(channel.uplink).value(channel.rtt).value(channel.spread);
            out.value(channel.downlink).value(channel.rttSpread).value(channel.stall);
            for (int i = 0; i < Channel.SAMPLES; i++) {
                out.value(channel.uplinks()[i]).value(channel.roundTrips()[i]).value(channel.probabilities()[i]);
            }
            out.end(']');
        }
        out.end(']');
    }

    private static void spend(JsonObject json, JsonWriter out) {
        EnergyModel model = new EnergyModel(Radio.of(json.string("radio")), EnergyModel.DEFAULT_COMPUTE_MW);
        double energy = model.requestMj(
                json.number("device_ms"),
                json.number("bytes"),
                json.number("uplink"),
                json.number("answer"),
                json.number("downlink"));
        out.name("mj").value(energy);
    }
}
