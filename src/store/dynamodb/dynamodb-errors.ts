import { CounterError } from "../../counter/errors.ts";

/** What a failed request left behind: nothing (it was certainly not carried out), or nobody knows. */
export type Fate = "not-done" | "unknown";

const throttling = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "RequestLimitExceeded",
  "LimitExceededException",
]);

/** Failures before a byte of the request was sent. */
const notSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** What a request needs of a table, for the sentence that names the remedy. */
export interface TableUse {
  readonly table: string;
  /** The settings that name the table. */
  readonly settings: string;
  readonly rights: string;
  /** Its keys. */
  readonly shape: string;
}

interface SdkError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly code?: string;
}

export function isThrottling(error: Error): boolean {
  return throttling.has(error.name);
}

/** Whether the condition of an update did not hold, so that nothing was written. */
export function isConditionFailure(error: Error): boolean {
  return error.name === "ConditionalCheckFailedException";
}

/** What is known of a request that failed: DynamoDB carries out nothing that it answers with 4xx. */
export function fateOf(error: SdkError): Fate {
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (status >= 400 && status < 500) return "not-done";
  return isMisconfigured(error) || notSent.has(error.code ?? "") ? "not-done" : "unknown";
}

/** Whether asking again cannot help, since somebody has to change something. */
export function isMisconfigured(error: SdkError): boolean {
  return findRemedy(error) !== undefined;
}

/**
 * The error for the caller, which names the remedy where one is known.
 *
 * @param consumed whether the call may have taken numbers
 */
export function explain(
  error: SdkError,
  { use, consumed }: { use: TableUse; consumed: boolean },
): CounterError {
  const options = { consumed, cause: error };
  const remedy = findRemedy(error, use);
  if (remedy !== undefined) return new CounterError("store-unavailable", remedy, options);
  if (isThrottling(error)) {
    return new CounterError(
      "store-unavailable",
      "expected DynamoDB to take the request, but it is throttled",
      options,
    );
  }
  return new CounterError("store-unavailable", "expected an answer of DynamoDB in time, got none", options);
}

function findRemedy(error: SdkError, use?: TableUse): string | undefined {
  switch (error.name) {
    case "ResourceNotFoundException":
      return `expected the table "${use?.table}", but there is none: set DYNAMODB_CREATE_TABLE=true, or check ${use?.settings} and AWS_REGION`;
    case "CredentialsProviderError":
      return "expected AWS credentials, but there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role (an engine of your own takes any)";
    case "AccessDeniedException":
      return `expected the right to use the table "${use?.table}": grant ${use?.rights} on it (to create it, dynamodb:DescribeTable and dynamodb:CreateTable too)`;
    case "UnrecognizedClientException":
    case "InvalidSignatureException":
    case "ExpiredTokenException":
    case "MissingAuthenticationTokenException":
      return `expected valid AWS credentials, got ${error.name}: check keys, session token and clock`;
    case "ValidationException":
      return `expected the key and attributes of the table "${use?.table}" to be as configured: check ${use?.shape}`;
  }
  if (/region is missing/i.test(error.message)) return "expected a region, but there is none: set AWS_REGION";
  return undefined;
}
