import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, jest, test } from "@jest/globals";
import { CombiningQueue } from "../../src/counter/combining-queue.ts";

interface HeldCommit {
  readonly key: string;
  readonly claims: readonly number[];
  readonly resolve: (outcomes: readonly string[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** A queue whose commits stay open until the test closes them by hand. */
function createHeldQueue(options?: { maxWaiting?: number }) {
  const commits: HeldCommit[] = [];
  const queue = new CombiningQueue<string, number, string>(
    (key, claims) =>
      new Promise((resolve, reject) => {
        commits.push({ key, claims, resolve, reject });
      }),
    options,
  );
  return { queue, commits };
}

function answers({ key, claims }: HeldCommit): string[] {
  return claims.map((claim) => `${key}${claim}`);
}

/** Lets everything happen that waits for nothing but its turn. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe("a claim", () => {
  test("for an idle counter is committed in the same tick", () => {
    const { queue, commits } = createHeldQueue();
    void queue.add("a", 1);
    expect(commits).toMatchObject([{ key: "a", claims: [1] }]);
  });

  test("that comes while a commit is in flight waits, and shares the next one in arrival order", async () => {
    const { queue, commits } = createHeldQueue();
    const all = Promise.all([1, 2, 3, 4].map((claim) => queue.add("a", claim)));
    await settle();
    expect(commits.map(({ claims }) => claims)).toEqual([[1]]);
    commits[0]?.resolve(["a1"]);
    await settle();
    expect(commits.map(({ claims }) => claims)).toEqual([[1], [2, 3, 4]]);
    const late = queue.add("a", 5);
    commits[1]?.resolve(["a2", "a3", "a4"]);
    expect(await all).toEqual(["a1", "a2", "a3", "a4"]);
    while (commits.length < 3) await settle();
    expect(commits.map(({ claims }) => claims)).toEqual([[1], [2, 3, 4], [5]]);
    commits[2]?.resolve(["a5"]);
    expect(await late).toBe("a5");
  });

  test("is committed at once again when the counter has become idle", async () => {
    const { queue, commits } = createHeldQueue();
    for (const at of [0, 1, 2]) {
      const claim = queue.add("a", at);
      expect(commits).toHaveLength(at + 1);
      commits[at]?.resolve(["done"]);
      await claim;
      await settle();
    }
  });

  test("does not wait for other counters", async () => {
    const { queue, commits } = createHeldQueue();
    const claims = [queue.add("a", 1), queue.add("b", 2), queue.add("a", 3), queue.add("c", 4)];
    expect(commits.map(({ key }) => key)).toEqual(["a", "b", "c"]);
    for (const commit of commits.slice(1)) commit.resolve(answers(commit));
    expect(await Promise.all([claims[1], claims[3]])).toEqual(["b2", "c4"]);
    await settle();
    expect(commits).toHaveLength(3);
    commits[0]?.resolve(["a1"]);
    await settle();
    commits[3]?.resolve(["a3"]);
    expect(await Promise.all(claims)).toEqual(["a1", "b2", "a3", "c4"]);
  });
});

describe("after a shared commit the next one", () => {
  /** Two callers share a commit that takes so long; a third comes meanwhile. The clock moves by hand. */
  async function shareCommit(tookMs: number) {
    let nowMs = 0;
    const clock = jest.spyOn(performance, "now").mockImplementation(() => nowMs);
    restore = () => clock.mockRestore();
    const { queue, commits } = createHeldQueue();
    const first = queue.add("a", 1);
    const shared = [queue.add("a", 2), queue.add("a", 3)];
    commits[0]?.resolve(["a1"]);
    await first;
    await settle();
    void queue.add("a", 4);
    nowMs += tookMs;
    commits[1]?.resolve(["a2", "a3"]);
    await Promise.all(shared);
    const passMs = async (ms: number) => {
      nowMs += ms;
      await settle();
      await settle();
    };
    await passMs(0);
    return { queue, commits, passMs };
  }
  let restore = () => {};
  afterEach(() => restore());

  test("waits for those who come back", async () => {
    const { queue, commits } = await shareCommit(8);
    expect(commits).toHaveLength(2);
    for (const claim of [5, 6]) void queue.add("a", claim);
    await settle();
    expect(commits[2]?.claims).toEqual([4, 5, 6]);
  });

  test("waits for nobody any more when nobody has come for a part of what the commit took", async () => {
    const { queue, commits, passMs } = await shareCommit(8);
    void queue.add("a", 5);
    await passMs(0.5);
    expect(commits).toHaveLength(2);
    await passMs(1);
    expect(commits[2]?.claims).toEqual([4, 5]);
  });

  test("waits for a few milliseconds at most, however long the commit took", async () => {
    const { commits, passMs } = await shareCommit(60_000);
    expect(commits).toHaveLength(2);
    await passMs(4);
    expect(commits[2]?.claims).toEqual([4]);
  });
});

describe("every waiter is settled", () => {
  test("with the reason of a commit that is rejected, and the next batch is served", async () => {
    const { queue, commits } = createHeldQueue();
    const claims = [1, 2, 3].map((claim) => queue.add("a", claim));
    const settled = Promise.allSettled(claims);
    commits[0]?.resolve(["a1"]);
    await settle();
    const next = queue.add("a", 4);
    const reason = new Error("disk on fire");
    commits[1]?.reject(reason);
    expect(await settled).toEqual([
      { status: "fulfilled", value: "a1" },
      { status: "rejected", reason },
      { status: "rejected", reason },
    ]);
    while (commits.length < 3) await settle();
    commits[2]?.resolve(["a4"]);
    expect(await next).toBe("a4");
  });

  test("when the commit throws before it gives a promise", async () => {
    const reason = new Error("thrown at once");
    const queue = new CombiningQueue<string, number, string>(() => {
      throw reason;
    });
    expect(await Promise.allSettled([queue.add("a", 1), queue.add("a", 2)])).toEqual([
      { status: "rejected", reason },
      { status: "rejected", reason },
    ]);
    await queue.drain();
  });

  test.each([
    ["too few", ["one"]],
    ["too many", ["one", "two", "three"]],
    ["no", []],
  ])("when a commit gives %s outcomes: nobody gets another's", async (_name, outcomes) => {
    const { queue, commits } = createHeldQueue();
    const first = queue.add("a", 0);
    const settled = Promise.allSettled([queue.add("a", 1), queue.add("a", 2)]);
    commits[0]?.resolve(["a0"]);
    await first;
    await settle();
    commits[1]?.resolve(outcomes);
    const reason = expect.objectContaining({
      message: `expected 2 outcomes of a commit, got ${outcomes.length}`,
    });
    expect(await settled).toEqual([
      { status: "rejected", reason },
      { status: "rejected", reason },
    ]);
  });
});

describe("an exclusive task", () => {
  test("starts at once on an idle counter, and holds up the claims behind it", async () => {
    const { queue, commits } = createHeldQueue();
    let finish = (_: string) => {};
    const task = queue.exclusive("a", () => new Promise<string>((resolve) => (finish = resolve)));
    const claim = queue.add("a", 1);
    await settle();
    expect(commits).toEqual([]);
    finish("set");
    expect(await task).toBe("set");
    await settle();
    commits[0]?.resolve(["a1"]);
    expect(await claim).toBe("a1");
  });

  test("keeps its turn: after the claims that came before it, before those that came after", async () => {
    const order: string[] = [];
    const queue = new CombiningQueue<string, number, number>(async (_key, claims) => {
      order.push(claims.join(" "));
      await settle();
      return claims;
    });
    const task = (name: string) => async () => {
      order.push(name);
      await settle();
    };
    await Promise.all([
      queue.add("a", 1),
      queue.add("a", 2),
      queue.add("a", 3),
      queue.exclusive("a", task("first task")),
      queue.add("a", 4),
      queue.add("a", 5),
      queue.exclusive("a", task("second task")),
      queue.exclusive("a", task("third task")),
      queue.add("a", 6),
    ]);
    expect(order).toEqual(["1", "2 3", "first task", "4 5", "second task", "third task", "6"]);
  });

  test("that fails or throws rejects its caller alone", async () => {
    const { queue, commits } = createHeldQueue();
    const rejected = queue.exclusive("a", () => Promise.reject(new Error("refused")));
    const thrown = queue.exclusive("a", () => {
      throw new Error("thrown at once");
    });
    const claim = queue.add("a", 1);
    await expect(rejected).rejects.toThrow("refused");
    await expect(thrown).rejects.toThrow("thrown at once");
    await settle();
    commits[0]?.resolve(["a1"]);
    expect(await claim).toBe("a1");
  });
});

describe("too many callers", () => {
  test("are refused over all counters, and admitted again when others are answered", async () => {
    const { queue, commits } = createHeldQueue({ maxWaiting: 3 });
    const admitted = [queue.add("a", 1), queue.add("a", 2), queue.exclusive("b", async () => "task")];
    const overloaded = expect.objectContaining({
      code: "overloaded",
      consumed: false,
      message: "expected at most 3 waiting callers, got one more",
    });
    const refused = [queue.add("c", 3), queue.exclusive("c", async () => "never")];
    expect(await Promise.allSettled(refused)).toEqual([
      { status: "rejected", reason: overloaded },
      { status: "rejected", reason: overloaded },
    ]);
    expect(await admitted[2]).toBe("task");
    await settle();
    const third = queue.add("c", 3);
    await expect(queue.add("c", 4)).rejects.toEqual(overloaded);
    commits[0]?.resolve(["a1"]);
    commits[1]?.reject(new Error("failed"));
    await expect(third).rejects.toThrow("failed");
    await settle();
    commits[2]?.resolve(["a2"]);
    expect(await Promise.all(admitted)).toEqual(["a1", "a2", "task"]);
    await settle();
    const again = [queue.add("a", 5), queue.add("b", 6), queue.add("c", 7)];
    for (const commit of commits.slice(3)) commit.resolve(answers(commit));
    expect(await Promise.all(again)).toEqual(["a5", "b6", "c7"]);
  });
});

describe("draining", () => {
  test("resolves at once when nobody waits", async () => {
    await createHeldQueue().queue.drain();
  });

  test("waits for all that wait, those who come meanwhile too, and tells everybody who drains", async () => {
    const { queue, commits } = createHeldQueue();
    let drained = 0;
    const claims = [queue.add("a", 1), queue.add("a", 2), queue.add("b", 3)];
    const drains = [queue.drain(), queue.drain()].map((drain) => drain.then(() => (drained += 1)));
    commits[0]?.resolve(["a1"]);
    commits[1]?.resolve(["b3"]);
    await settle();
    expect(drained).toBe(0);
    const late = queue.add("a", 4);
    commits[2]?.resolve(["a2"]);
    await settle();
    expect(drained).toBe(0);
    commits[3]?.resolve(["a4"]);
    await Promise.all([...claims, late, ...drains]);
    expect(drained).toBe(2);
  });

  test("resolves also when the last commit fails", async () => {
    const { queue, commits } = createHeldQueue();
    const claim = queue.add("a", 1);
    const drain = queue.drain();
    commits[0]?.reject(new Error("failed"));
    await expect(claim).rejects.toThrow("failed");
    await drain;
  });
});

test("never has two commits of one counter in flight, nor one with nothing in it", async () => {
  const inFlight = new Set<string>();
  const queue = new CombiningQueue<string, number, number>(async (key, claims) => {
    expect(inFlight).not.toContain(key);
    expect(claims.length).toBeGreaterThan(0);
    inFlight.add(key);
    await settle();
    inFlight.delete(key);
    return claims;
  });
  const claims = Array.from({ length: 2_000 }, async (_, at) => {
    if (at % 3 === 0) await settle();
    return queue.add(`${at % 7}`, at);
  });
  expect(await Promise.all(claims)).toEqual(claims.map((_, at) => at));
});

test("keeps nothing of counters that are idle", async () => {
  const keys: WeakRef<object>[] = [];
  const queue = new CombiningQueue<object, number, number>(async (_key, claims) => claims);
  async function use(): Promise<void> {
    for (let at = 0; at < 100; at += 1) {
      const key = { at };
      keys.push(new WeakRef(key));
      await queue.add(key, 1);
    }
  }
  await use();
  await queue.drain();
  await settle();
  collectGarbage();
  // The last key may still be on the stack.
  expect(keys.filter((key) => key.deref() !== undefined).length).toBeLessThanOrEqual(1);
});

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}
