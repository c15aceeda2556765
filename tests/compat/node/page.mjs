// A page in place of a browser's, so far as Keen's browser builds look at it; requests are real.
export const visit = {
  href: "https://shop.example.com/lamps?size=2#top",
  referrer: "https://news.example.org/tests/lamps",
  userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
};

/** Requests that answer nobody: beacons and images. */
const sent = [];

/** The status, and what else a browser looks at, of each beacon and image. */
export const answered = () => Promise.all(sent);

class Image {
  set src(url) {
    sent.push(
      fetch(url, { headers: { "user-agent": visit.userAgent } }).then(async (response) => {
        const bytes = Buffer.from(await response.arrayBuffer());
        // A GIF says its size in bytes 6 to 9.
        this.naturalWidth = bytes.readUInt16LE(6);
        this.naturalHeight = bytes.readUInt16LE(8);
        this.onload();
        return { status: response.status, type: response.headers.get("content-type"), size: [this.naturalWidth, this.naturalHeight] };
      }),
    );
  }
}

const listeners = {};
const elements = {};

/** What somebody does on the page: the clients' listeners are told. */
export const happens = (event, selector, target) => {
  elements[selector] = [target];
  for (const listener of listeners[event] ?? []) listener({ target, preventDefault() {} });
};

const page = {
  document: {
    body: { scrollHeight: 2000, offsetHeight: 2000 },
    documentElement: { clientHeight: 900, scrollHeight: 2000, offsetHeight: 2000 },
    cookie: "",
    hidden: false,
    referrer: visit.referrer,
    title: "Lamps",
    addEventListener: (event, listener) => (listeners[event] ??= []).push(listener),
    createElement: (name) => (name === "img" ? new Image() : {}),
    querySelector: () => ({ content: "All lamps" }),
    querySelectorAll: (selector) => elements[selector] ?? [],
  },
  location: new URL(visit.href),
  innerHeight: 900,
  innerWidth: 1600,
  pageYOffset: 100,
  screen: { height: 1080, width: 1920, colorDepth: 24, pixelDepth: 24, availHeight: 1080, availWidth: 1920 },
  navigator: {
    appCodeName: "Mozilla",
    appName: "Netscape",
    appVersion: "5.0 (X11)",
    cookieEnabled: true,
    doNotTrack: "unspecified",
    language: "de",
    onLine: true,
    platform: "Linux x86_64",
    userAgent: visit.userAgent,
    // As browsers do it: text/plain, no header of ours, and nobody reads the answer.
    sendBeacon(url, body) {
      const headers = { "content-type": "text/plain;charset=UTF-8", "user-agent": visit.userAgent };
      sent.push(fetch(url, { method: "POST", headers, body }).then((response) => ({ status: response.status })));
      return true;
    },
  },
};

globalThis.window = globalThis.self = globalThis;
for (const [name, value] of Object.entries(page)) Object.defineProperty(globalThis, name, { value, writable: true });
// A page goes on after a promise that nobody minds; the tests look at what the callers see.
process.on("unhandledRejection", () => {});
