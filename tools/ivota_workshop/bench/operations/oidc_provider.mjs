// The OpenID Connect provider `oidc-provider` with some accounts, for oidc_sign_in.py:
//     node oidc_provider.mjs FOLDER ACCOUNTS
// FOLDER has its node_modules, and the file ACCOUNTS the claims of each account in JSON, read at each
// sign-in. It prints its port, reads a line with the address that browsers return to, and then serves.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const [folder, accounts] = process.argv.slice(2);
const { default: Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);

let answer = (_, response) => response.writeHead(503).end();
const server = createServer((request, response) => answer(request, response));
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const input = createInterface({ input: process.stdin });
  input.once("line", (back) => {
    const provider = new Provider(`http://127.0.0.1:${port}`, {
      clients: [{ client_id: "console", client_secret: "a secret: with / and ? and %", redirect_uris: [back] }],
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
      cookies: { keys: ["test"] },
      pkce: { required: () => true },
      features: { devInteractions: { enabled: true } },
      findAccount: (_, sub) => ({
        accountId: sub,
        claims: () => ({ sub, ...JSON.parse(readFileSync(accounts))[sub] }),
      }),
    });
    answer = provider.callback();
    console.log("ready");
  });
  input.once("close", () => process.exit());
  console.log(port);
});
