// Subscribes with the npm client `graphql-ws`: prints "ready", each result, and how it ended.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, query, count] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  retryAttempts: 0,
  connectionParams: { authorization: `Bearer ${token}` },
  on: { closed: (event) => console.log(JSON.stringify({ closed: event.code, reason: event.reason })) },
});

let left = Number(count);
const stop = client.subscribe(
  { query },
  {
    next: (result) => {
      console.log(JSON.stringify(result));
      left -= 1;
      if (left === 0) {
        stop();
        client.dispose();
      }
    },
    error: (error) => console.log(JSON.stringify({ error })),
    complete: () => console.log(JSON.stringify('complete')),
  },
);
// The protocol has no word for "subscribed": what is asked behind it is answered behind it.
client.subscribe(
  { query: '{ health { status } }' },
  { next: () => console.log(JSON.stringify('ready')), error: console.error, complete: () => {} },
);
