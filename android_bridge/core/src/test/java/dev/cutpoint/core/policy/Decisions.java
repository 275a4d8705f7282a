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

/** What policy, belief and energy model make of each case of a file, in JSON. */
public final class Decisions {
    private Decisions() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.transform(arguments, block -> {
            JsonObject json = new JsonObject(JsonReader.parse(block), "case");
            JsonWriter out = new JsonWriter().begin('{');
            switch (json.string("kind")) {
                case "policy":
                    decide(json, out);
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

    private static void decide(JsonObject json, JsonWriter out) {
        List<Point> points = new ArrayList<>();
        for (JsonObject point : json.objects("points", false)) {
            points.add(Point.of(point));
        }
        JsonObject belief = json.objectOrNull("channel");
        JsonObject server = json.object("server");
        Conditions conditions = new Conditions(
                belief == null ? null : channel(belief),
                new ServerState(server.number("queue_ms"), server.number("price"), server.bool("draining", false)),
                json.number("device_scale"),
                json.number("server_scale"));
        Plan plan = new LatencyPolicy(LatencyPolicy.admissible(points, json.number("floor"))).choose(conditions);
        out.name("point").value(plan.point.id);
        out.name("predicted_ms").value(plan.predictedMs).name("device_ms").value(plan.deviceMs);
    }

    private static Channel channel(JsonObject json) {
        return new Channel(json.number("uplink"), json.number("rtt"), json.number("spread"));
    }

    private static void believe(JsonObject json, JsonWriter out) {
        ChannelEstimator estimator = new ChannelEstimator();
        out.name("beliefs").begin('[');
        for (JsonObject seen : json.objects("seen", false)) {
            switch (seen.string("what")) {
                case "upload":
                    estimator.observeUpload(seen.number("bytes"), seen.number("seconds"));
                    break;
                case "spacing":
                    estimator.observeSpacing(seen.number("bytes"), seen.number("seconds"));
                    break;
                case "rtt":
                    estimator.observeRtt(seen.number("seconds"));
                    break;
                case "late":
                    estimator.observeLate(seen.number("bytes"), seen.number("seconds"));
                    break;
                default:
                    estimator.observeAnswer(seen.int32s("sizes"), seen.numbers("arrivals"), seen.number("network"));
            }
            Channel channel = estimator.channel();
            out.begin('[').value(channel.uplink).value(channel.rtt).value(channel.spread).end(']');
        }
        out.end(']');
    }

    private static void spend(JsonObject json, JsonWriter out) {
        EnergyModel model = new EnergyModel(Radio.of(json.string("radio")), EnergyModel.DEFAULT_COMPUTE_MW);
        double energy = model.requestMj(json.number("device_ms"), json.number("bytes"), json.number("uplink"));
        out.name("mj").value(energy);
    }
}
