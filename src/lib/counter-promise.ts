type Callback<Argument, Context> = (this: Context, argument: Argument) => unknown;
/** As jQuery's deferreds take them: functions, or lists of them; what is neither is ignored. */
export type Callbacks<Argument, Context> = readonly (
  | Callback<Argument, Context>
  | readonly Callback<Argument, Context>[]
  | undefined
  | null
)[];

/**
 * A promise that also has the methods of a jQuery promise, as dynamodb-atomic-counter's had from underscore.deferred.
 * Callbacks get `context` as their `this`.
 *
 * As with a jQuery promise, it is no error when nobody listens to the failure of a request, or `done` alone is used. What is
 * derived by `then` is as loud as any other promise, and what a callback throws is an uncaught error.
 */
export class CounterPromise<Value, Context = unknown> extends Promise<Value> {
  #context: Context | undefined;

  /** @param context what callbacks get as their `this` (default: the promise) */
  static of<Value, Context>(work: Promise<Value>, context?: Context): CounterPromise<Value, Context> {
    const promise = new CounterPromise<Value, Context>((resolve) => resolve(work));
    promise.#context = context;
    promise.fail();
    return promise;
  }

  /** Calls back with the value. */
  done(...callbacks: Callbacks<Value, Context>): this {
    return this.#listen(callbacks, []);
  }

  /** Calls back with the error. */
  fail(...callbacks: Callbacks<unknown, Context>): this {
    return this.#listen([], callbacks);
  }

  /** Calls back with the value or the error. */
  always(...callbacks: Callbacks<unknown, Context>): this {
    return this.#listen(callbacks, callbacks);
  }

  /** Calls nobody back, since there is no progress; `_.when` of underscore.deferred wants the method. */
  progress(..._callbacks: Callbacks<unknown, Context>): this {
    return this;
  }

  /** The promise itself: by this method, others know a jQuery promise. */
  promise(): this {
    return this;
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  override then<Result = Value, Failure = never>(
    onValue?: ((this: Context, value: Value) => Result | PromiseLike<Result>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: as Promise has it
    onError?: ((this: Context, error: any) => Failure | PromiseLike<Failure>) | null,
  ): CounterPromise<Result | Failure, Context> {
    const context = (this.#context ?? this) as Context;
    // A promise of this class is derived, as for any class that extends Promise.
    const derived = super.then(onValue?.bind(context), onError?.bind(context)) as CounterPromise<
      Result | Failure,
      Context
    >;
    derived.#context = this.#context;
    return derived;
  }

  #listen(onValue: Callbacks<Value, Context>, onError: Callbacks<unknown, Context>): this {
    const context = (this.#context ?? this) as Context;
    super.then(
      (value) => call(onValue, context, value),
      (error) => call(onError, context, error),
    );
    return this;
  }
}

function call<Argument, Context>(
  callbacks: Callbacks<Argument, Context>,
  context: Context,
  argument: Argument,
): void {
  for (const callback of callbacks.flat()) {
    if (typeof callback !== "function") continue;
    try {
      callback.call(context, argument);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
