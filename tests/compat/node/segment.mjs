// @segment/analytics-node and @rudderstack/rudder-sdk-node: calls of {method, with}, and what became of each.
import { given, installed, print } from "./calls.mjs";

const made = {
  segment() {
    const { Analytics } = installed("@segment/analytics-node");
    const client = new Analytics(given.client);
    client.on("error", (error) => errors.push(String(error.reason ?? error.code)));
    return [client, () => client.closeAndFlush({ timeout: 30000 })];
  },
  rudder() {
    const Client = installed("@rudderstack/rudder-sdk-node");
    const { writeKey, ...options } = given.client;
    const client = new Client(writeKey, { ...options, errorHandler: (error) => errors.push(String(error)) });
    return [client, () => client.flush()];
  },
};

const errors = [];
const [client, flush] = made[given.which]();
const told = given.calls.map(
  (call) =>
    new Promise((resolve) => {
      const message = { ...call.with };
      if (message.timestamp) message.timestamp = new Date(message.timestamp);
      client[call.method](message, (error) => resolve(error ? String(error.message ?? error) : null));
    }),
);
await flush();
print({ told: await Promise.all(told), errors });
