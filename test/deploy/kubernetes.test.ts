import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { parseAllDocuments } from "yaml";
import { settings } from "../../src/config.ts";
import { describeUnlessMissing } from "../describe-unless-missing.ts";
import { findMissing, output } from "../tools.ts";

interface Container {
  name: string;
  image: string;
  env?: { name: string; value: string }[];
  envFrom?: { secretRef?: { name: string }; configMapRef?: { name: string } }[];
  ports: { name: string; containerPort: number }[];
  securityContext: object;
  resources: { requests: object; limits: object };
  lifecycle: { preStop: { exec: { command: [string, string] } } };
  startupProbe: object;
  livenessProbe: object;
  readinessProbe: object;
  volumeMounts?: { name: string; mountPath: string }[];
}

interface PodSpec {
  serviceAccountName: string;
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
  topologySpreadConstraints?: { topologyKey: string }[];
  securityContext: object;
  containers: [Container];
}

/** Any object that kustomize renders; only what the tests read is typed. */
interface Rendered {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  data?: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: the validator of the schemas has looked at it
  spec: any;
  automountServiceAccountToken?: boolean;
}

const require = createRequire(import.meta.url);
const overlays = await readdir("k8s/overlays");
const rendered = new Map<string, Rendered[]>();

/** Custom resources, of which the schemas know nothing; `strip-prefix` below is held against Traefik's docs by hand. */
const customKinds = ["Middleware"];

function find(overlay: string, kind: string, name = "buildnumber"): Rendered {
  const found = rendered.get(overlay)?.find((it) => it.kind === kind && it.metadata.name === name);
  if (!found) throw new Error(`expected ${kind} ${name} in ${overlay}`);
  return found;
}

function podOf(overlay: string): PodSpec {
  const kind = overlay.startsWith("file") ? "StatefulSet" : "Deployment";
  return find(overlay, kind).spec.template.spec as PodSpec;
}

/** A setting's default in the code, so that a manifest that relies on it fails when it changes. */
function defaultOf(name: string): string | undefined {
  const setting = settings.find((it) => it.name === name);
  if (!setting) throw new Error(`expected a setting ${name}`);
  return setting.default;
}

/** kubectl has kustomize built in. */
const [renderer, command] = findMissing("kubectl") ? ["kustomize", "build"] : ["kubectl", "kustomize"];

describeUnlessMissing("the Kubernetes overlays", findMissing(renderer), () => {
  beforeAll(async () => {
    for (const overlay of overlays) {
      const yaml = await output(renderer, [command, `k8s/overlays/${overlay}`]);
      rendered.set(
        overlay,
        parseAllDocuments(yaml).map((document) => document.toJS() as Rendered),
      );
    }
  }, 60_000);

  test("are one for each store, with and without Traefik", () => {
    const stores = ["dynamodb", "file", "redis"];
    expect([...overlays].sort()).toEqual(stores.flatMap((store) => [store, `${store}-traefik`]));
  });

  describe.each(overlays)("%s", (overlay) => {
    test("has only objects that the Kubernetes schemas accept, with no field that they do not know", () => {
      for (const object of rendered.get(overlay) ?? []) {
        if (customKinds.includes(object.kind)) continue;
        expect({ [object.kind]: findUnknownFields(object) }).toEqual({ [object.kind]: [] });
      }
    });

    test("puts everything into the namespace, with the recommended labels", () => {
      for (const { kind, metadata } of rendered.get(overlay) ?? []) {
        if (kind !== "Namespace") expect(metadata.namespace).toBe("buildnumber");
        if (["Secret", "ConfigMap"].includes(kind)) continue;
        expect(metadata.labels).toMatchObject({
          "app.kubernetes.io/name": expect.any(String),
          "app.kubernetes.io/part-of": "buildnumber",
          "app.kubernetes.io/managed-by": "kustomize",
        });
      }
    });

    test("selects by each selector exactly one kind of pod", () => {
      const objects = rendered.get(overlay) ?? [];
      const pods = objects
        .filter(({ spec }) => spec?.template)
        .map(({ spec }) => spec.template.metadata.labels);
      const selectors = objects
        .map(({ kind, spec }) =>
          kind === "Service" ? spec.selector : (spec?.selector ?? spec?.podSelector)?.matchLabels,
        )
        .filter(Boolean);
      expect(selectors.length).toBeGreaterThan(2);
      for (const selector of selectors) {
        const matched = pods.filter((labels) =>
          Object.entries(selector).every(([name, value]) => labels[name] === value),
        );
        expect(matched).toHaveLength(1);
      }
    });

    test("listens where the service listens, and is reached on port 80", () => {
      const [{ ports }] = podOf(overlay).containers;
      expect(ports).toEqual([{ name: "http", containerPort: Number(defaultOf("PORT")), protocol: "TCP" }]);
      expect(find(overlay, "Service").spec.ports).toEqual([
        { name: "http", port: 80, targetPort: "http", protocol: "TCP" },
      ]);
      expect(find(overlay, "NetworkPolicy").spec.ingress).toEqual([
        { ports: [{ port: "http", protocol: "TCP" }] },
      ]);
    });

    test("sets only what the service knows as a setting", () => {
      const [{ env = [], envFrom = [] }] = podOf(overlay).containers;
      const names = env.map(({ name }) => name);
      for (const { secretRef, configMapRef } of envFrom) {
        const source = secretRef
          ? find(overlay, "Secret", secretRef.name)
          : find(overlay, "ConfigMap", configMapRef?.name);
        names.push(...Object.keys(source.data ?? {}));
      }
      const known = settings.map(({ name }) => name);
      expect(names).toContain("STORE");
      expect(names.filter((name) => !known.includes(name))).toEqual([]);
      expect(env.find(({ name }) => name === "STORE")?.value).toBe(overlay.replace("-traefik", ""));
    });

    test("probes what the service serves", () => {
      const [{ startupProbe, livenessProbe, readinessProbe }] = podOf(overlay).containers;
      expect(startupProbe).toMatchObject({ httpGet: { path: "/healthz", port: "http" } });
      expect(livenessProbe).toMatchObject({ httpGet: { path: "/healthz", port: "http" } });
      expect(readinessProbe).toMatchObject({ httpGet: { path: "/readyz", port: "http" } });
    });

    test("gives the service the time to drain before it is killed", () => {
      const { terminationGracePeriodSeconds, containers } = podOf(overlay);
      const [program, seconds] = containers[0].lifecycle.preStop.exec.command;
      expect(program).toBe("sleep");
      const drainSeconds = Number(defaultOf("DRAIN_TIMEOUT_MS")) / 1_000;
      // The store has 2 s to close after the drain.
      expect(terminationGracePeriodSeconds).toBeGreaterThan(Number(seconds) + drainSeconds + 2);
    });

    test("runs every pod as strictly as the standard named restricted asks, and more", () => {
      for (const { spec } of rendered.get(overlay)?.filter((it) => it.spec?.template) ?? []) {
        const pod = spec.template.spec as PodSpec;
        expect(pod.securityContext).toMatchObject({
          runAsNonRoot: true,
          seccompProfile: { type: "RuntimeDefault" },
        });
        expect(pod.automountServiceAccountToken).toBe(false);
        expect(pod.containers[0].securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        expect(pod.containers[0].resources).toMatchObject({
          requests: { cpu: expect.any(String), memory: expect.any(String) },
          limits: { memory: expect.any(String) },
        });
      }
      expect(podOf(overlay).serviceAccountName).toBe(find(overlay, "ServiceAccount").metadata.name);
      expect(find(overlay, "ServiceAccount").automountServiceAccountToken).toBe(false);
      const namespace = find(overlay, "Namespace").metadata.labels;
      expect(namespace).toMatchObject({ "pod-security.kubernetes.io/enforce": "restricted" });
    });
  });

  test.each(overlays)(
    "send no request of %s to a pod on another store, while one overlay replaces another",
    (overlay) => {
      const stores = overlays.filter((other) => {
        const { selector } = find(overlay, "Service").spec;
        const { labels } = find(other, other.startsWith("file") ? "StatefulSet" : "Deployment").spec.template
          .metadata;
        return Object.entries(selector).every(([name, value]) => labels[name] === value);
      });
      const store = overlay.replace("-traefik", "");
      expect(stores.sort()).toEqual([store, `${store}-traefik`]);
    },
  );

  test("keep one pod for the file store, and the names by which the Go original's volume is found", () => {
    const { replicas, serviceName, volumeClaimTemplates, template } = find("file", "StatefulSet").spec;
    expect(replicas).toBe(1);
    expect(find("file", "Service", serviceName).spec.clusterIP).toBe("None");
    expect(volumeClaimTemplates[0].metadata.name).toBe("buildnumber-data");
    const pod = template.spec as PodSpec;
    const dir = pod.containers[0].env?.find(({ name }) => name === "STORAGE_DIR")?.value;
    expect(pod.containers[0].volumeMounts).toEqual([{ name: "buildnumber-data", mountPath: dir }]);
    expect(pod.securityContext).toMatchObject({ runAsUser: 1000, fsGroup: 1000 });
  });

  test.each(["redis", "dynamodb"])(
    "run at least two pods on %s, and keep one through a disruption",
    (overlay) => {
      expect(find(overlay, "Deployment").spec.replicas).toBeGreaterThanOrEqual(2);
      expect(find(overlay, "PodDisruptionBudget").spec.maxUnavailable).toBe(1);
      expect(find(overlay, "HorizontalPodAutoscaler").spec).toMatchObject({
        minReplicas: 2,
        scaleTargetRef: { kind: "Deployment", name: "buildnumber" },
      });
      expect(podOf(overlay).topologySpreadConstraints?.[0]?.topologyKey).toBe("kubernetes.io/hostname");
      expect(
        rendered
          .get(overlay)
          ?.some(({ kind, metadata }) => kind === "StatefulSet" && metadata.name === "buildnumber"),
      ).toBe(false);
    },
  );

  test("reach the Redis that they bring along, which has every answered number on disk", () => {
    const [{ envFrom = [] }] = podOf("redis").containers;
    const secret = find("redis", "Secret", envFrom[0]?.secretRef?.name);
    const url = new URL(Buffer.from(secret.data?.["REDIS_URL"] ?? "", "base64").toString());
    const { ports } = find("redis", "Service", url.hostname).spec;
    expect(ports[0].port).toBe(Number(url.port));
    expect(find("redis", "NetworkPolicy").spec.egress).toContainEqual({
      ports: [{ port: ports[0].port, protocol: "TCP" }],
    });
    const [{ args }] = find("redis", "StatefulSet", "redis").spec.template.spec.containers;
    expect(args.join(" ")).toContain("--appendonly yes --appendfsync always --maxmemory-policy noeviction");
  });

  test.each(overlays.filter((name) => name.endsWith("-traefik")))(
    "strip the prefix by Traefik: %s",
    (overlay) => {
      const { metadata, spec } = find(overlay, "Ingress");
      const { host, http } = spec.rules[0];
      const [{ path, backend }] = http.paths;
      const middleware = find(overlay, "Middleware", "strip-prefix");
      expect(spec.ingressClassName).toBe("traefik");
      expect(spec.tls[0].hosts).toEqual([host]);
      expect(backend.service).toEqual({ name: "buildnumber", port: { name: "http" } });
      expect(middleware).toMatchObject({
        apiVersion: "traefik.io/v1alpha1",
        spec: { stripPrefix: { prefixes: [path] } },
      });
      expect(metadata.annotations).toMatchObject({
        "traefik.ingress.kubernetes.io/router.middlewares": `${middleware.metadata.namespace}-${middleware.metadata.name}@kubernetescrd`,
      });
    },
  );
});

test("the check for unknown fields finds a misspelt one, at any depth", () => {
  const object = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "buildnumber" },
    spec: { ports: [{ port: 80, tragetPort: 8080 }] },
  };
  expect(findUnknownFields(object)).toEqual(["/spec/ports/0/tragetPort"]);
});

/**
 * Validates an object against the schema of its kind, and finds the fields that the schema does not know. The schema's
 * validator, compiled code, reads every field it knows and no other: so an unknown field is one that was never read.
 */
function findUnknownFields(object: Pick<Rendered, "apiVersion" | "kind">): string[] {
  const [version, group] = object.apiVersion.split("/").reverse();
  const models = require(`kubernetes-models/${group ? `${group}/` : ""}${version}/${object.kind}`);
  const read = new Set<string>();
  watch(new models[object.kind](object), "", read).validate();
  return paths(object).filter((path) => !read.has(path));
}

function watch<T extends object>(object: T, path: string, read: Set<string>): T {
  return new Proxy(object, {
    get(target, key) {
      const value = Reflect.get(target, key);
      const at = `${path}/${String(key)}`;
      read.add(at);
      return typeof value === "object" && value !== null ? watch(value, at, read) : value;
    },
  });
}

function paths(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => [
    `${path}/${key}`,
    ...paths(child, `${path}/${key}`),
  ]);
}
