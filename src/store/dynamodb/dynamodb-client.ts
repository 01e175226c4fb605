import { DynamoDBClient, type DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";

/** Where DynamoDB is and who asks. What is missing, the SDK finds as everywhere in AWS (environment, profile, role). */
export interface DynamodbClientOptions {
  readonly region?: string;
  /** Another engine than Amazon's, as `http://127.0.0.1:8000`. */
  readonly endpoint?: string;
  readonly credentials?: NonNullable<DynamoDBClientConfig["credentials"]>;
  /** How often the SDK sends one request at most (default 3, its own). An ADD that is sent twice may skip numbers. */
  readonly maxAttempts?: number;
}

/**
 * A client of DynamoDB. Connections are kept alive, up to 256 of them, and made within a second or not at all.
 *
 * @param config further options of the SDK, which go before ours
 */
export function createDynamodbClient(
  options: DynamodbClientOptions,
  config: DynamoDBClientConfig = {},
): DynamoDBClient {
  const { region, endpoint, credentials, maxAttempts } = options;
  const agent = { keepAlive: true, maxSockets: 256 };
  return new DynamoDBClient({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    requestHandler: { connectionTimeout: 1_000, httpAgent: agent, httpsAgent: agent },
    ...config,
  });
}
