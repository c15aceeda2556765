// What the drivers share: a client's calls come in as JSON on stdin, and what became of each goes out as JSON on stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";

/** {client: its settings, calls: [{method, url?, with: its arguments, callback?}]} */
export const given = JSON.parse(readFileSync(0, "utf8"));

/** A file of the folder that npm filled. */
export const installed = createRequire(`${process.argv[2]}/`);

/** An error with all that the client tells about it; Error's own members are not enumerable. */
const shown = (error) =>
  error instanceof Error ? { ...error, name: error.name, message: error.message } : (error ?? null);

/** A fetch Response says its status: the browser clients have read its body. */
const plain = (value) => (value instanceof Response ? { status: value.status } : (value ?? null));

async function outcome(client, call) {
  const values = [...(call.with ?? [])];
  if (call.url) values.unshift({ url: client.url(...call.url), ...values.shift() });
  const called = call.callback
    ? new Promise((resolve) => values.push((error, body) => resolve({ error: shown(error), body: body ?? null })))
    : undefined;
  const answer = {};
  try {
    const value = await client[call.method](...values);
    // Methods that answer nobody return the client.
    answer.resolved = value === client ? "client" : plain(value);
  } catch (error) {
    answer.rejected = shown(error);
  }
  // A call that throws may tell its callback nothing.
  if (called) answer.callback = await (answer.rejected ? Promise.race([called, setImmediate(null)]) : called);
  return answer;
}

/** One call after another, and the list of {resolved or rejected, callback?}. */
export async function outcomes(client) {
  const answers = [];
  for (const call of given.calls) answers.push(await outcome(client, call));
  return answers;
}

/** The last thing that a driver does: the clients leave timers and channels open, which would keep it alive. */
export const print = (value) => process.stdout.write(JSON.stringify(value), () => process.exit());
