// node sockets.js ws|net PORT: WebSocket messages (ws), or frames of a four-byte length (net).
//   ws:  what comes on /fan goes to everybody else there; on /ingest it is decoded and counted; on /echo it comes back.
//   net: {"echo":…} comes back; all else is decoded and counted.
// A decoded {"end":S} is answered with S where as many came before it as it says, in order, else with another number.
import { createServer } from "node:net";
import { WebSocketServer } from "ws";

const [kind, port] = process.argv.slice(2);
const WRONG = "@@99999999";

class Count {
  seen = 0;
  hear(message, answer) {
    if (message.end !== undefined) answer(Number(message.end.slice(2)) === this.seen ? message.end : WRONG);
    else if (Number(message.n.slice(2)) === this.seen) this.seen++;
    if (message.end !== undefined) this.seen = 0;
  }
}

if (kind === "ws") {
  const server = new WebSocketServer({ port: Number(port), host: "127.0.0.1", backlog: 1024 });
  const fan = new Set();
  server.on("connection", (socket, request) => {
    socket.on("error", () => {});
    if (request.url === "/fan") {
      fan.add(socket);
      socket.on("close", () => fan.delete(socket));
      socket.on("message", (data, isBinary) => {
        for (const each of fan) if (each !== socket) each.send(data, { binary: isBinary });
      });
    } else if (request.url === "/echo") {
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    } else if (request.url === "/ingest") {
      const count = new Count();
      socket.on("message", (data) => count.hear(JSON.parse(data), (said) => socket.send(said)));
    }
  });
} else {
  createServer({ noDelay: true }, (socket) => {
    const count = new Count();
    let held = null;
    const answer = (text) => {
      const frame = Buffer.allocUnsafe(4 + text.length);
      frame.writeUInt32BE(text.length);
      frame.write(text, 4, "latin1");
      socket.write(frame);
    };
    socket.on("error", () => {});
    socket.on("data", (came) => {
      const bytes = held === null ? came : Buffer.concat([held, came]);
      let at = 0;
      while (bytes.length - at >= 4) {
        const end = at + 4 + bytes.readUInt32BE(at);
        if (end > bytes.length) break;
        const message = JSON.parse(bytes.toString("utf8", at + 4, end));
        if (message.echo !== undefined) answer(JSON.stringify(message));
        else count.hear(message, answer);
        at = end;
      }
      held = at === bytes.length ? null : bytes.subarray(at);
    });
  }).listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 });
}
