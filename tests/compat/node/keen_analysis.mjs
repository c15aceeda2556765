// keen-analysis, its browser build: the one for Node takes neither http nor a port.
import { given, installed, outcomes, print } from "./calls.mjs";
import "./page.mjs";

const { KeenAnalysis } = installed("keen-analysis/dist/keen-analysis.js");

print(await outcomes(new KeenAnalysis(given.client)));
