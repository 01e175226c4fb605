import { describe, expect, test } from "@jest/globals";
import { describeAddress, parseRedisUrl } from "../../../src/store/redis/redis-client.ts";

describe("a Redis URL", () => {
  test.each([
    [
      "redis://127.0.0.1:6379",
      { kind: "single", nodes: [{ host: "127.0.0.1", port: 6379 }], db: 0, isTls: false },
    ],
    ["redis://redis", { kind: "single", nodes: [{ host: "redis", port: 6379 }], db: 0, isTls: false }],
    ["redis://[::1]:7000/2", { kind: "single", nodes: [{ host: "::1", port: 7000 }], db: 2, isTls: false }],
    [
      "rediss://me:p%40ss%2Fword@redis.example:6380/12",
      {
        kind: "single",
        nodes: [{ host: "redis.example", port: 6380 }],
        username: "me",
        password: "p@ss/word",
        db: 12,
        isTls: true,
      },
    ],
    [
      "redis://:secret@redis",
      { kind: "single", nodes: [{ host: "redis", port: 6379 }], password: "secret", db: 0, isTls: false },
    ],
    [
      "unix:///run/redis.sock?db=3",
      { kind: "single", nodes: [], socketPath: "/run/redis.sock", db: 3, isTls: false },
    ],
    [
      "redis-sentinel://:secret@one,two:5000/1#mymaster",
      {
        kind: "sentinel",
        nodes: [
          { host: "one", port: 26379 },
          { host: "two", port: 5000 },
        ],
        masterName: "mymaster",
        password: "secret",
        db: 1,
        isTls: false,
      },
    ],
    [
      "rediss-cluster://one:7000,two",
      {
        kind: "cluster",
        nodes: [
          { host: "one", port: 7000 },
          { host: "two", port: 6379 },
        ],
        db: 0,
        isTls: true,
      },
    ],
  ])("%s is understood", (url, address) => {
    expect(parseRedisUrl(url)).toEqual(address);
  });

  test.each([
    ["", /begins with redis:\/\//],
    ["localhost:6379", /begins with redis:\/\//],
    ["http://localhost", /begins with redis:\/\//],
    ["redis://", /a host and port/],
    ["redis://host:port", /a host and port/],
    ["redis://one,two", /expected one host/],
    ["redis://host/first", /a database number/],
    ["redis-sentinel://host:26379", /the master's name/],
    ["redis-cluster://host/1", /a cluster has only 0/],
  ])("%j is refused", (url, message) => {
    expect(() => parseRedisUrl(url)).toThrow(message);
  });

  test("never shows its password, neither described nor refused", () => {
    for (const url of [
      "redis://me:secret@h:1/1",
      "redis-sentinel://:secret@h#m",
      "redis-cluster://:secret@h,i",
    ]) {
      expect(describeAddress(parseRedisUrl(url))).toMatch(/^Redis .*h/);
      expect(describeAddress(parseRedisUrl(url))).not.toContain("secret");
    }
    for (const url of ["redis://me:secret@h/x", "redis://me:secret@", "secret", "redis://:%secret@h"]) {
      expect(() => parseRedisUrl(url)).not.toThrow("secret");
    }
  });
});
