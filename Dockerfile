# Two stages install (all packages to compile, the production ones to run); the last one only copies.
# Every number lives in the volume /data. Build: docker build -t buildnumber .

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json ./
RUN npm ci
COPY src ./src
RUN npm run build
# A checkout made under a strict umask must still be readable for whatever user the container runs as.
RUN chmod -R a+rX dist package.json

FROM node:24-slim AS modules
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
# What only compilers, debuggers and another C library read is a third of it.
RUN node -e "const fs = require('fs'); for (const file of fs.readdirSync('node_modules', { recursive: true })) if (/\\.(map|[cm]?ts|musl\\.node)\$/.test(file)) fs.rmSync('node_modules/' + file, { recursive: true })"
RUN chmod -R a+rX node_modules

FROM node:24-slim
LABEL org.opencontainers.image.title="buildnumber" \
      org.opencontainers.image.description="The next build number, once and for ever: POST /{uuid} answers {\"bn\":5}" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
    PORT=8080 \
    STORAGE_DIR=/data
WORKDIR /app
COPY --from=modules /app/node_modules ./node_modules
COPY --from=build /app/package.json ./
COPY --from=build /app/dist ./dist
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
EXPOSE 8080
# Readiness, not liveness: Docker restarts nothing for it, but Traefik and `depends_on` listen to it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "http.get({ host: process.env.HOST || '127.0.0.1', port: process.env.PORT || 8080, path: '/readyz' }, (res) => process.exit(res.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# The exec form: node itself gets SIGTERM, answers what is in flight and exits 0.
CMD ["node", "dist/src/main.js"]
