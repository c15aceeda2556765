// keen-tracking, its build for Node.
import { given, installed, outcomes, print } from "./calls.mjs";

const KeenTracking = installed("keen-tracking");

const client = new KeenTracking(given.client);
if (given.extend) client.extendEvents(() => given.extend);
print(await outcomes(client));
