// Subscribes with the npm client `graphql-sse`, distinct connections: prints "ready", each result and the end.
import { createClient } from 'graphql-sse';

const [url, token, query, count] = process.argv.slice(2);
const client = createClient({
  url,
  singleConnection: false,
  retryAttempts: 0,
  headers: { authorization: `Bearer ${token}` },
});

let left = Number(count);
const stop = client.subscribe(
  { query },
  {
    next: (result) => {
      console.log(JSON.stringify(result));
      left -= 1;
      if (left === 0) stop();
    },
    error: (error) => console.log(JSON.stringify({ error: String(error) })),
    complete: () => console.log(JSON.stringify('complete')),
  },
  { connected: () => console.log(JSON.stringify('ready')) },
);
