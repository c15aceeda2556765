// @segment/analytics-next in a page that jsdom makes: {page: {url, referrer, userAgent}, load, calls: [[method, ...]]}
import { given, installed, print } from "./calls.mjs";

const PATIENCE = 20000;

const { JSDOM, ResourceLoader } = installed("jsdom");

const { url, referrer, userAgent } = given.page;
const resources = new ResourceLoader({ userAgent });
const { window } = new JSDOM("<!doctype html><title>Lamps</title>", { url, referrer, resources });
const { document, navigator, location, localStorage } = window;
for (const [name, value] of Object.entries({ window, document, navigator, location, localStorage, self: window }))
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

/** The status of each request of a message, by messageId; a browser says by itself where a request comes from. */
const answered = {};
let allIn;
const done = new Promise((resolve) => (allIn = resolve));
const send = globalThis.fetch;
window.fetch = globalThis.fetch = async (address, options = {}) => {
  const headers = { ...options.headers, origin: location.origin, "user-agent": userAgent };
  const response = await send(address, { ...options, headers });
  if (options.method === "post") (answered[JSON.parse(options.body).messageId] ??= []).push(response.status);
  const last = Object.values(answered).map((statuses) => statuses.at(-1));
  if (last.length === given.calls.length && last.every((status) => status === 200)) setTimeout(allIn);
  return response;
};

const { AnalyticsBrowser } = installed("@segment/analytics-next");

const [client] = await AnalyticsBrowser.load(given.load);
const sent = [];
for (const [method, ...values] of given.calls) {
  const { event } = await client[method](...values);
  sent.push({ type: event.type, id: event.messageId });
}
await Promise.race([done, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
print({ sent, answered, anonymousId: client.user().anonymousId() });
