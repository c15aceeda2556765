// keen-tracking, its browser build: also what it tracks by itself, and its beacons.
import { given, installed, outcomes, print } from "./calls.mjs";
import { answered, happens } from "./page.mjs";

const { KeenTracking } = installed("keen-tracking/dist/keen-tracking.js");

const client = new KeenTracking(given.client);
const calls = await outcomes(client);
if (given.visit) {
  const body = { nodeName: "BODY", childNodes: [], parentNode: null };
  const button = { nodeName: "BUTTON", className: "buy", id: "buy-7", hasAttribute: () => true, parentNode: body };
  const form = {
    nodeName: "DIV", // a FORM would be sent off
    action: "/order",
    method: "post",
    elements: [
      { name: "mail", nodeName: "INPUT", type: "text", value: "u@example.com" },
      { name: "secret", nodeName: "INPUT", type: "password", value: "hunter2" },
    ],
    hasAttribute: () => false,
    getAttribute: () => null,
    parentNode: body,
  };
  body.childNodes.push(button, form);
  body.querySelectorAll = (selector) => document.querySelectorAll(selector);
  button.getAttribute = (name) => (name === "data-event-key" ? "buy" : null);
  happens("click", "a, a *", button);
  happens("submit", "form", form);
}
print({ calls, answered: await answered() });
