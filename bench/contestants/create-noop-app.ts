import express, { type Express } from "express";

/** The smallest Express app of the service's shape: one route with a parameter, one constant answer. */
export function createNoopApp(): Express {
  const app = express();
  app.post("/:uuid", (_request, response) => {
    response.end('{"bn":5}\n');
  });
  return app;
}
