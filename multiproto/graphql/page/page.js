"use strict";
// Sends what is in the editors to this server and shows what comes back.
// Subscriptions are read as an event stream (graphql-sse) until Stop.

const ENDPOINT = new URL(document.baseURI).pathname.replace(/\/$/, "");
const MOST_SHOWN = 100; // results of a subscription that stay on the page
const EXAMPLE = `# Register, put the token above, then try: { me { id name } }
mutation Register($input: RegisterInput!) {
  register(input: $input) {
    token
    user { id name }
  }
}
`;
const VARIABLES = '{\n  "input": {"email": "ann@example.com", "name": "Ann", "password": "Secret-123"}\n}';

const at = (id) => document.getElementById(id);
let running = null; // what stops the request under way

at("query").value = sessionStorage.getItem("query") ?? EXAMPLE;
at("variables").value = sessionStorage.getItem("variables") ?? VARIABLES;
at("token").value = sessionStorage.getItem("token") ?? "";

function say(text) { at("status").textContent = text; }

function object(id) {
  const text = at(id).value.trim();
  try {
    return text ? JSON.parse(text) : {};
  } catch (fault) {
    throw new Error(`${id}: ${fault.message}`);
  }
}

function headers() {
  const token = at("token").value.trim();
  return {
    "content-type": "application/json",
    // Subscriptions can only be answered as a stream; all else is wanted whole.
    accept: "application/graphql-response+json, application/json;q=0.9, text/event-stream;q=0.5",
    ...(token ? { authorization: `Bearer ${token}` } : {}),
    ...object("headers"),
  };
}

async function readEvents(response, show) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = /^event: next\ndata: (.*)$/.exec(event);
      if (data) show(JSON.parse(data[1]));
    }
  }
}

async function run() {
  if (running) running.abort();
  const mine = (running = new AbortController());
  for (const id of ["query", "variables", "token"]) sessionStorage.setItem(id, at(id).value);
  at("stop").disabled = false;
  at("result").textContent = "";
  say("…");
  const began = performance.now();
  try {
    const response = await fetch(ENDPOINT, {
      method: "POST",
      headers: headers(),
      body: JSON.stringify({ query: at("query").value, variables: object("variables") }),
      signal: mine.signal,
    });
    if ((response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      say("listening");
      const shown = [];
      await readEvents(response, (result) => {
        shown.unshift(JSON.stringify(result, null, 2));
        shown.length = Math.min(shown.length, MOST_SHOWN);
        at("result").textContent = shown.join("\n\n");
      });
      say("the stream has ended");
    } else {
      at("result").textContent = JSON.stringify(await response.json(), null, 2);
      say(`${response.status} in ${Math.round(performance.now() - began)} ms`);
    }
  } catch (fault) {
    say(mine.signal.aborted ? "stopped" : fault.message);
  } finally {
    if (running === mine) {
      running = null;
      at("stop").disabled = true;
    }
  }
}

at("run").addEventListener("click", run);
at("stop").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
