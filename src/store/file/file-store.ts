/**
 * The file store: durable, shared by any number of processes, one file per counter.
 *
 * A commit, in order:
 *
 *  1. take the counter's lock, or go on without it after a quarter of a second (`counter-locks.ts`);
 *  2. know how far the counter is: the larger of fence and value file. What was known at the last commit still
 *     holds while the lock is ours and the value file is the one that we wrote;
 *  3. move the fence: the compare-and-swap that makes the numbers ours (`fence.ts`). Somebody else moved it: back to 2;
 *  4. sync the fence's directory: the durable point. Meanwhile write the value file (`value-file.ts`), in place where it
 *     says what the fence said before, and look whether the fence moved on, so that a writer who was overtaken does not
 *     leave an old number there. That look comes after every write, so it holds for a file that others wrote, with or
 *     without the lock. A writer who dies before it leaves one whole line with a number not above the fence's highest,
 *     which the fence overrules;
 *  5. resolve.
 *
 * Before the fence moved nothing was consumed. Afterwards the numbers are gone, whatever fails: the fence never moves
 * back. A failed sync of the fence is the end of this process, for nobody knows what is on the disk (the kernel reports
 * such an error once and then forgets it).
 *
 * The calls of a commit that only touch the file system's cache are made synchronously: each takes microseconds, and a trip
 * to the thread pool more than that. Only the syncs wait for the disk, and they wait in the thread pool.
 */
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CombiningQueue } from "../../counter/combining-queue.ts";
import { type CounterName, fileNameOf } from "../../counter/counter-name.ts";
import { CounterError, counterNotFound, counterUnreadable } from "../../counter/errors.ts";
import {
  allocate,
  type BuildRecord,
  type Claim,
  type CommitOptions,
  type Log,
  loweringRefused,
  type Outcome,
  type RecordsPage,
  type RecordsQuery,
  type RetentionOptions,
  type SetOptions,
  type Store,
  type StoreContext,
} from "../../counter/store.ts";
import { isRecorded, refuseRecorded } from "../recorded-claims.ts";
import { type ActiveCounter, ActiveCounters } from "./active-counters.ts";
import { CounterLocks } from "./counter-locks.ts";
import {
  buildFence,
  FenceDamagedError,
  isStanding,
  type Mark,
  markAt,
  moveFence,
  moveMark,
  putUpFence,
  readToken,
  type Token,
  tokenOf,
} from "./fence.ts";
import { closeQuietly, errnoOf, isNoSpace, openDirectory, storeError, sync } from "./io.ts";
import { type Found, Records } from "./records.ts";
import { Spellings } from "./spellings.ts";
import { openStorageDir, type StorageDir } from "./storage-dir.ts";
import {
  adoptValueFile,
  isUntouched,
  openValueFile,
  overwriteValueFile,
  readValueFile,
  replaceValueFile,
  valueText,
  type WrittenFile,
} from "./value-file.ts";

export interface FileStoreOptions extends RetentionOptions {
  /** The directory, as given (relative to the working directory or absolute); created when missing. */
  readonly storageDir: string;
  /** A lock that was not refreshed for so long belongs to a dead process; at least 2,000. */
  readonly lockStaleMs: number;
  /** How long a commit waits for a lock that another process holds, before it goes on by fence alone. */
  readonly lockWaitMs: number;
}

/**
 * Opens the file store: makes the directory if it is missing and proves that it can be written, renamed in and synced.
 *
 * @throws Error whose message is one sentence for the operator, when the directory cannot be used
 */
export async function openFileStore(options: FileStoreOptions, context: StoreContext): Promise<Store> {
  const directory = await openStorageDir(options.storageDir);
  const isEmpty = await directory.isEmpty();
  if (isEmpty)
    context.log.warn({ storageDir: directory.root }, "the store is empty: every counter starts at 1");
  return new FileStore(directory, options, context);
}

/** How far a counter is, as its files say. */
interface Seen {
  /** Where the fence stands; undefined for a counter that has none yet. */
  token: Token | undefined;
  /** The larger of fence and value file; undefined for a counter that was never used. */
  mark: Mark | undefined;
}

/** What is known of a counter: for the length of a commit, and from one to the next while its lock is ours. */
interface Known extends Seen {
  /** A descriptor of the fence's directory. */
  fd: number | undefined;
  /** The value file, once we wrote or adopted it. */
  file: WrittenFile | undefined;
}

type Counter = ActiveCounter<Known>;

/** What a change does to a counter: where its mark goes (undefined: nowhere), and what the caller is told. */
interface Change<Result> {
  readonly to: Mark | undefined;
  readonly result: Result;
  /** The change lowers the counter. */
  readonly isLowering?: boolean;
}

/** How often a commit follows a fence that others move, and writes a value file. Far more than was ever needed. */
const mostTries = 100;
const mostWrites = 100;
/** For looks that change nothing: the next commit tells. */
const quiet: Log = { info() {}, warn() {}, error() {} };

class FileStore implements Store {
  readonly description: string;
  readonly #directory: StorageDir;
  readonly #context: StoreContext;
  readonly #spellings: Spellings;
  readonly #active: ActiveCounters<Known>;
  readonly #records: Records;
  /** Syncs of the shared directories, by descriptor: those who ask while one is under way share the next. */
  readonly #syncs = new CombiningQueue<number, undefined, undefined>(
    async (fd, callers) => {
      await sync(fd);
      return callers;
    },
    { maxWaiting: Number.POSITIVE_INFINITY, gathers: false },
  );
  /** Something could not be written: prove that it can, before a fence moves again and burns numbers. */
  #isSuspect = false;
  #proving: Promise<void> | undefined;
  #isFailed = false;
  /** The calls in hand: `close` waits for them, for it closes the descriptors that they sync. */
  readonly #calls = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(directory: StorageDir, options: FileStoreOptions, context: StoreContext) {
    const { lockStaleMs, lockWaitMs } = options;
    this.#directory = directory;
    this.#context = context;
    this.description = `files in ${directory.root}`;
    this.#active = new ActiveCounters({
      locks: new CounterLocks(lockStaleMs),
      root: directory.root,
      lockWaitMs,
      onLockError: (error) => {
        this.#isSuspect ||= isNoSpace(error);
      },
      settle: (counter) => this.#settle(counter),
      forget,
    });
    this.#records = new Records(directory.root, options, {
      log: context.log,
      isFenceAt: (name, token) => isStanding(this.#fencePath(name), { name: token }),
    });
    this.#spellings = new Spellings(directory);
    this.#spellings.complete().catch((error) => {
      context.log.error({ err: error }, "the storage directory could not be read for ids in other spellings");
    });
  }

  commit(
    name: CounterName,
    claims: readonly Claim[],
    { create }: CommitOptions,
  ): Promise<readonly Outcome[]> {
    return this.#inHand(
      claims.some(isRecorded) ? this.#takeRecorded(name, claims, create) : this.#take(name, claims, create),
    );
  }

  record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    return this.#inHand(this.#records.record(name, value));
  }

  records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    return this.#inHand(this.#records.records(name, query));
  }

  set(name: CounterName, value: number, { force }: SetOptions): Promise<void> {
    const change = this.#change<void>(name, true, (mark) => {
      if (value < mark.value && !force) throw loweringRefused(mark.value, value);
      return { to: moveMark(mark, value), result: undefined, isLowering: value < mark.value };
    });
    return this.#inHand(change);
  }

  #take(
    name: CounterName,
    claims: readonly Claim[],
    create: boolean,
    known?: ReadonlyMap<string, BuildRecord>,
  ): Promise<Outcome[]> {
    return this.#change(name, create, (mark) => {
      const { next, outcomes } = allocate(mark.value, claims, known);
      return { to: next === mark.value ? undefined : moveMark(mark, next), result: outcomes };
    });
  }

  /** A batch with keys or metadata: keys are looked for first, and records written last. */
  async #takeRecorded(
    name: CounterName,
    claims: readonly Claim[],
    create: boolean,
  ): Promise<readonly Outcome[]> {
    this.#checkAlive();
    let found: Found;
    try {
      found = await this.#records.find(
        name,
        claims.flatMap(({ key }) => key ?? []),
      );
      const isKnown = ({ key }: Claim) => key !== undefined && found.known.has(key);
      if (claims.every(isKnown)) return allocate(0, claims, found.known).outcomes;
      this.#records.checkWritable();
    } catch (error) {
      return refuseRecorded(claims, error as CounterError, (plain) => this.#take(name, plain, create));
    }
    const { known, lowered } = found;
    const outcomes = await this.#take(name, claims, create, known);
    const fresh = outcomes.flatMap((outcome) =>
      "record" in outcome && outcome.record && !outcome.isReplay ? [outcome.record] : [],
    );
    try {
      const winners = await this.#records.add(name, lowered, fresh);
      return outcomes.map((outcome): Outcome => {
        const key = "record" in outcome ? outcome.record?.key : undefined;
        const record = key === undefined ? undefined : winners.get(key);
        return record ? { value: record.value, record, isReplay: true } : outcome;
      });
    } catch (error) {
      return outcomes.map((outcome) =>
        "record" in outcome && outcome.record && fresh.includes(outcome.record)
          ? { error: error as CounterError }
          : outcome,
      );
    }
  }

  peek(name: CounterName): Promise<number | undefined> {
    return this.#inHand(this.#peek(name));
  }

  async #peek(name: CounterName): Promise<number | undefined> {
    this.#checkAlive();
    try {
      const { mark, token } = await this.#look(name, quiet);
      // What is told has to be durable, and whoever moved the fence may not have synced it yet.
      if (token) await this.#syncStanding(name);
      return mark?.value;
    } catch (error) {
      throw storeError(error, "to read the counter's files");
    }
  }

  async check(): Promise<void> {
    this.#checkAlive();
    this.#proving ??= this.#prove().finally(() => {
      this.#proving = undefined;
    });
    await this.#proving;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#calls);
    await this.#active.close();
    await this.#records.close();
    await this.#syncs.drain();
    this.#directory.close();
  }

  #inHand<T>(call: Promise<T>): Promise<T> {
    const end = () => this.#calls.delete(call);
    this.#calls.add(call);
    call.then(end, end);
    return call;
  }

  /**
   * The commit of the head comment, for any change of a counter.
   *
   * @param decide what to do, given how far the counter is; called again when somebody else was faster. May throw: then
   *   nothing changes
   */
  async #change<Result>(
    name: CounterName,
    create: boolean,
    decide: (mark: Mark) => Change<Result>,
  ): Promise<Result> {
    this.#checkAlive();
    const counter = await this.#active.enter(name);
    try {
      if (this.#isSuspect) await this.check();
      for (let tries = 0; tries < mostTries; tries += 1) {
        const known = knownStill(counter) ?? (await this.#learn(counter));
        if (known.mark === undefined && !create) throw counterNotFound();
        const { to, result, isLowering = false } = decide(known.mark ?? markAt(0));
        if (to === undefined || (await this.#move(counter, known, tokenOf(to), isLowering))) return result;
        forget(counter);
      }
      throw new CounterError(
        "store-unavailable",
        `expected to move the fence within ${mostTries} tries, but somebody else was faster each time`,
      );
    } catch (error) {
      forget(counter);
      throw storeError(error, "to read and write the counter's files");
    } finally {
      this.#active.leave(counter);
    }
  }

  /** Reads how far a counter is, and makes sure that the fence it rests on outlives a power cut. */
  async #learn(counter: Counter): Promise<Known> {
    const known: Known = {
      ...(await this.#look(counter.name, this.#context.log)),
      fd: undefined,
      file: undefined,
    };
    counter.known = known;
    if (known.token) {
      known.fd = openDirectory(this.#fencePath(counter.name));
      // Its maker may have died before this. Until then an old value file is the only durable copy.
      if (!counter.isLinked) await this.#syncShared(this.#directory.fencesFd);
      counter.isLinked = true;
    }
    return known;
  }

  /**
   * Reads fence and value file: the larger counts.
   *
   * @throws CounterError `counter-unreadable`; else the system's error
   */
  async #look(name: CounterName, log: Log): Promise<Seen> {
    try {
      const token = await readToken(this.#fencePath(name));
      return await (token ? this.#lookBehindFence(name, token, log) : this.#lookWithoutFence(name, log));
    } catch (error) {
      if (error instanceof FenceDamagedError) {
        throw counterUnreadable(fileNameOf(name), `its fence is damaged: ${error.message}`, error);
      }
      if (isForbidden(error))
        throw counterUnreadable(fileNameOf(name), `its files cannot be opened (${errnoOf(error)})`, error);
      throw error;
    }
  }

  async #lookBehindFence(name: CounterName, token: Token, log: Log): Promise<Seen> {
    const valuePath = path.join(this.#directory.root, fileNameOf(name));
    const file = readValueFile(valuePath);
    if (file.state !== "number") {
      const reason = file.state === "missing" ? "the value file is missing" : file.reason;
      log.warn({ counter: name, fence: token.value, reason }, "the value file is made anew from the fence");
      return { token, mark: token };
    }
    if (file.value <= token.highest) return { token, mark: token };
    // Not by hand, but by a commit between the two looks, or one that is just being written.
    const isAsSeen = isDeepStrictEqual(readValueFile(valuePath), file);
    if (!isAsSeen || !isStanding(this.#fencePath(name), token)) return this.#look(name, log);
    log.warn(
      { counter: name, fence: token.value, value: file.value },
      "the value file was raised by hand: it counts",
    );
    return { token, mark: markAt(file.value) };
  }

  /** A counter of the Go original, whose value files are all that there is of it; or a new one. */
  async #lookWithoutFence(name: CounterName, log: Log): Promise<Seen> {
    await this.#spellings.complete();
    let mark: Mark | undefined;
    const files = [fileNameOf(name), ...(await this.#spellings.of(name))];
    for (const spelling of files) {
      const file = readValueFile(path.join(this.#directory.root, spelling));
      if (file.state === "missing") continue;
      if (file.state === "unreadable") {
        throw counterUnreadable(fileNameOf(name), `there is no fence, and in the value file ${file.reason}`);
      }
      if (file.text !== valueText(file.value))
        log.warn({ file: spelling, value: file.value }, "an odd value file was read by its first line");
      if (mark === undefined || file.value > mark.value) mark = markAt(file.value);
    }
    if (files.length > 1)
      log.warn({ counter: name, files, ...mark }, "files under several spellings are one counter now");
    return { token: undefined, mark };
  }

  /** Steps 3 and 4. Resolves to false when somebody else moved the fence first. */
  async #move(counter: Counter, known: Known, to: Token, isLowering: boolean): Promise<boolean> {
    const fencePath = this.#fencePath(counter.name);
    const before = known.token;
    const isFirst = before === undefined;
    let rename: () => boolean;
    if (before) {
      rename = () => irrevocably(() => moveFence(fencePath, before, to));
    } else {
      const built = await buildFence(this.#directory.nursery, to);
      known.fd = built.fd;
      rename = () => irrevocably(() => putUpFence(built, fencePath));
    }
    const isMoved = isLowering
      ? await this.#records.lower(counter.name, before?.name, to.value, rename)
      : rename();
    if (!isMoved) return false;
    const durable = isFirst ? this.#syncShared(this.#directory.fencesFd) : this.#sync(known.fd as number);
    known.token = to;
    known.mark = to;
    counter.isUnsettled = true;
    const publish = () => this.#publish(counter, known, before);
    // Until the first fence is durable an old value file is the only copy that is: it must not be replaced before.
    const [synced, published] = await Promise.allSettled([
      durable,
      isFirst ? durable.then(publish) : publish(),
    ]);
    if (synced.status === "rejected") {
      throw new CounterError("store-unavailable", `${synced.reason.message}`, {
        consumed: true,
        cause: synced.reason,
      });
    }
    if (published.status === "rejected") {
      this.#isSuspect = true;
      throw storeError(published.reason, "to write the value file", { consumed: true });
    }
    return true;
  }

  /**
   * Writes the value file: in place if it says what the fence said before. When the fence has moved on (by somebody who
   * works without the lock, or while we were stopped), the file is theirs to write, and we may have just put an old
   * number over theirs: the newer one is written.
   *
   * @throws the system's error; Error when the file does not become whole (a short write)
   */
  async #publish({ name, valuePath }: Counter, known: Known, before: Token | undefined): Promise<void> {
    const fencePath = this.#fencePath(name);
    let token = known.token as Token;
    let text = valueText(token.value);
    if (before) known.file ??= adoptValueFile(valuePath, valueText(before.value));
    let isWritten = known.file !== undefined && overwriteValueFile(known.file, text);
    for (let writes = 0; writes < mostWrites; writes += 1) {
      if (!isWritten) {
        closeFile(known);
        known.file = replaceValueFile(valuePath, text);
      }
      if (known.file && isStanding(fencePath, token)) return;
      token = (await readToken(fencePath)) ?? token;
      text = valueText(token.value);
      isWritten = false;
    }
    throw new Error(`expected the value file to say what the fence does within ${mostWrites} writes`);
  }

  /** Makes the value file durable as well, so that a directory at rest is whole in both. Never rejects. */
  async #settle(counter: Counter): Promise<void> {
    if (!counter.isUnsettled || this.#isFailed) return;
    counter.isUnsettled = false;
    try {
      const fd = openValueFile(counter.valuePath);
      try {
        await sync(fd);
      } finally {
        closeQuietly(fd);
      }
      await this.#syncs.add(this.#directory.rootFd, undefined);
    } catch (error) {
      this.#isSuspect = true;
      this.#context.log.error(
        { err: error, counter: counter.name },
        "a value file could not be synced; its fence stands",
      );
    }
  }

  /** Makes a fence that somebody else may have moved durable. */
  async #syncStanding(name: CounterName): Promise<void> {
    const fd = openDirectory(this.#fencePath(name));
    try {
      await this.#sync(fd);
      await this.#syncShared(this.#directory.fencesFd);
    } finally {
      closeQuietly(fd);
    }
  }

  #sync(fd: number): Promise<void> {
    return this.#durably(sync(fd));
  }

  #syncShared(fd: number): Promise<void> {
    return this.#durably(this.#syncs.add(fd, undefined));
  }

  async #durably(syncing: Promise<void>): Promise<void> {
    try {
      await syncing;
    } catch (error) {
      throw this.#fail(error);
    }
    // The kernel reports a lost write once: a sync that succeeds after a failed one proves nothing.
    this.#checkAlive();
  }

  /** After a failed sync of a fence nobody knows what is on the disk: the end of this process. */
  #fail(cause: unknown): CounterError {
    const error = new CounterError(
      "store-unavailable",
      `expected the fence to be synced, got ${errnoOf(cause)}; the service ends, to start again from what is on the disk`,
      { cause },
    );
    if (!this.#isFailed) {
      this.#isFailed = true;
      this.#context.onFatal(error);
    }
    return error;
  }

  async #prove(): Promise<void> {
    try {
      await this.#directory.prove();
      this.#isSuspect = false;
    } catch (error) {
      this.#isSuspect = true;
      throw storeError(error, "to write, rename and sync a small file");
    }
  }

  #checkAlive(): void {
    if (this.#isFailed) {
      throw new CounterError(
        "store-unavailable",
        "expected a disk that syncs, but it failed to; the service is ending",
      );
    }
  }

  #fencePath(name: CounterName): string {
    return `${this.#directory.fences}/${fileNameOf(name)}`;
  }
}

/** What is known of a counter from the last commit, if the value file is still as that left it. */
function knownStill({ known, valuePath }: Counter): Known | undefined {
  return known?.file && isUntouched(valuePath, known.file) ? known : undefined;
}

function forget(counter: Counter): void {
  if (!counter.known) return;
  closeFile(counter.known);
  if (counter.known.fd !== undefined) closeQuietly(counter.known.fd);
  counter.known = undefined;
}

function closeFile(known: Known): void {
  if (known.file) closeQuietly(known.file.fd);
  known.file = undefined;
}

/** Does what takes numbers. When that fails nobody knows whether it happened, so they count as used. */
function irrevocably<T>(take: () => T): T {
  try {
    return take();
  } catch (error) {
    throw storeError(error, "to move the fence", { consumed: true });
  }
}

const forbidden = new Set<string | undefined>([
  "EACCES",
  // A value file that is a link to nowhere: a missing one is told otherwise.
  "ENOENT",
  "EPERM",
  "EISDIR",
  "ENOTDIR",
  "ELOOP",
  "ENXIO",
  "ESPIPE",
]);

/** Whether a file is there but cannot be used for what it is or whose it is: waiting will not help. */
function isForbidden(error: unknown): boolean {
  return forbidden.has(errnoOf(error));
}
