// node yoga.js PORT: graphql-yoga over 60 users that are already in memory; it knows no tokens.
import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";

const at = new Date().toISOString();
const users = Array.from({ length: 60 }, (_, number) => ({
  id: `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`,
  email: `user${number}@example.org`,
  name: "Some User",
  createdAt: at,
  updatedAt: at,
}));
const byId = new Map(users.map((user) => [user.id, user]));

const schema = createSchema({
  typeDefs: `
    type User { id: ID! email: String! name: String! createdAt: String! updatedAt: String! }
    type UserEdge { node: User! cursor: String! }
    type UserConnection { edges: [UserEdge!]! }
    type Query { user(id: ID!): User users(page: Int, limit: Int): UserConnection! }
  `,
  resolvers: {
    Query: {
      user: (_, { id }) => byId.get(id),
      users: (_, { limit }) => ({ edges: users.slice(0, limit ?? 20).map((node) => ({ node, cursor: node.id })) }),
    },
  },
});

createServer(createYoga({ schema, logging: false })).listen(Number(process.argv[2]), "127.0.0.1");
