/** What TypeScript accepts and refuses in pages with the widget. It is checked, and never run. */

import { HarkenClient, HarkenError, type Receipt, type Vote } from "harken-feedback";
import { HarkenFeedback, type HarkenTexts, type StoredVote } from "harken-feedback/widget";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(proof: Equal<A, B>): void;

const widget = document.createElement("harken-feedback");
same<typeof widget, HarkenFeedback>(true);
same<typeof widget.vote, StoredVote | null>(true);
const found = document.querySelector("harken-feedback");
same<typeof found, HarkenFeedback | null>(true);

widget.token = "token";
widget.texts = { send: "Go" };
widget.open();
widget.open("up");
widget.close();
widget.reset();
const stored = await widget.submit({ rating: "down", comment: "Wrong", tags: ["wrong"] });
same<typeof stored, boolean>(true);
HarkenFeedback.texts("pt-BR", { send: "Mandar" } satisfies Partial<HarkenTexts>);

// @ts-expect-error: it is read only
widget.vote = null;
// @ts-expect-error: a thumb is up or down
widget.open("neutral");
// @ts-expect-error: there is no such text
HarkenFeedback.texts("pt-BR", { sned: "Mandar" });

widget.addEventListener("harken-saved", function ({ detail }) {
  same<typeof this, HarkenFeedback>(true);
  same<typeof detail, { id: string; rating: "up" | "down" | null; version: number; reply: string | null }>(true);
});
document.addEventListener("harken-token", ({ detail }) => {
  same<typeof detail.expired, boolean>(true);
  detail.provide(fetch("/token").then((response) => response.text()));
  detail.provide("token");
  // @ts-expect-error: a token is text
  detail.provide(7);
});
window.addEventListener("harken-failed", ({ detail: { status, problem, willRetry } }) => {
  same<typeof status, number>(true);
  same<typeof problem.detail, string | undefined>(true);
  same<typeof willRetry, boolean>(true);
});
widget.addEventListener("click", (event) => same<typeof event, PointerEvent>(true));

const client = new HarkenClient({ endpoint: new URL("https://feedback.example.com"), renew: async () => "token" });
same<ReturnType<typeof client.vote>, Promise<Receipt>>(true);
same<ReturnType<typeof client.votes>, Promise<Vote[]>>(true);
same<ReturnType<typeof client.withdraw>, Promise<void>>(true);
// @ts-expect-error: a rating is up, down or null
client.vote("good");
// @ts-expect-error: the context is flat
client.vote("up", { context: { user: { id: 7 } } });
try {
  await client.vote("down");
} catch (error) {
  if (error instanceof HarkenError) same<typeof error.violations, { field: string; code: string; message: string }[]>(true);
}
