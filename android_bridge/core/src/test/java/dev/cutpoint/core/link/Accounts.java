package dev.cutpoint.core.link;

import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.json.JsonWriter;
import dev.cutpoint.core.policy.Channel;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;

/** What the monitor makes of what happens to a connection, in JSON. */
public final class Accounts {
    private Accounts() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.transform(arguments, block -> {
            JsonObject given = new JsonObject(JsonReader.parse(block), "case");
            LinkMonitor monitor = new LinkMonitor(1, given.bool("thrifty", false));
            JsonWriter out = new JsonWriter().begin('{').name("accounts").begin('[');
            for (JsonObject event : given.objects("events", false)) {
                double now = event.number("now");
                happen(monitor, event, now);
                Channel channel = monitor.channel(now);
                out.begin('[').value(channel.uplink).value(channel.rtt).value(channel.spread);
                out.value(channel.downlink).value(channel.stall);
                out.value(monitor.unanswered()).value(monitor.onTheWay(now)).value(monitor.silent(now));
                out.value(monitor.wantsProbe(now) ? 1L : 0L).value(monitor.rest(now));
                out.value((long) monitor.padding(now)).end(']');
            }
            return out.end(']').end('}').toBytes();
        });
    }

    private static void happen(LinkMonitor monitor, JsonObject event, double now) {
        switch (event.string("what")) {
            case "asked":
                monitor.asked(now);
                break;
            case "heard":
                monitor.heard(now);
                break;
            case "sent":
                monitor.sent(event.int32("number"), event.int32s("sizes"), event.number("server"), now);
                break;
            case "cancelled":
                monitor.cancelled(event.int32("number"));
                break;
            case "answered":
                monitor.answered(
                        event.int32("number"),
                        event.numbers("arrivals"),
                        event.number("server"),
                        event.number("answer"),
                        now);
                break;
            case "refused":
                monitor.refused(event.int32("number"), now);
                break;
            case "probed":
                monitor.probed(event.int32("padding"), now);
                break;
            case "pong":
                monitor.pong(event.number("sent"), event.number("received"), now);
                break;
            default:
                monitor.reset();
        }
    }
}
