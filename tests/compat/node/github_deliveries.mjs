// Every example of @octokit/webhooks-examples as GitHub delivers it: [event, body, signature], signed by @octokit/webhooks-methods.
import { pathToFileURL } from "node:url";
import { given, installed, print } from "./calls.mjs";

const methods = `${process.argv[2]}/node_modules/@octokit/webhooks-methods/dist-node/index.js`; // for import only
const { sign } = await import(pathToFileURL(methods));

const deliveries = [];
for (const { name, examples } of installed("@octokit/webhooks-examples")) {
  for (const payload of examples) {
    const body = JSON.stringify(payload);
    deliveries.push([name, body, await sign(given.secret, body)]);
  }
}
print(deliveries);
