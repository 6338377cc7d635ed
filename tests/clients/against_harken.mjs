/** A session of a page with the browser client: votes, changes, withdraws, comments. Prints what it saw, as JSON. */

const [, , module, endpoint, expired, token] = process.argv;
const { HarkenClient } = await import(module);

const client = new HarkenClient({ endpoint, token: expired, renew: async () => token });
const seen = {};
seen.first = await client.vote("up", { message: "m 1 ü", agent: "helper", context: { model: "large" } });
const change = { message: "m 1 ü", comment: "The date was wrong", tags: ["wrong"], agent: "helper", key: "click-1" };
seen.changed = await client.vote("down", change);
seen.repeated = await client.vote("down", change);
seen.session = await client.vote("up");
seen.reasonOnly = await client.vote("down", { message: "m-2", tags: ["slow"] });
seen.refused = await client.vote("down", { message: "m-3" }).catch(({ name, status, violations }) => ({ name, status, violations }));
seen.foreign = await client.vote("up", { session: "of somebody else" }).catch(({ status }) => status);
seen.comment = await client.comment("More sources, please", { message: "m-2" });
await client.withdraw({ message: "m-2" });
await client.withdraw({ message: "never voted on" });
seen.votes = await client.votes();
console.log(JSON.stringify(seen));
