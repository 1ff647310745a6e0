# docker build -t folkmoot . && docker run -p 8008:8008 -p 8448:8448 -v folkmoot:/data folkmoot
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npx tsc -b homeserver/bin && npm prune --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production DATA_DIR=/data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/homeserver/database/migrations ./homeserver/database/migrations
RUN useradd --system --uid 991 --create-home folkmoot && mkdir /data && chown folkmoot /data
USER folkmoot
VOLUME /data
EXPOSE 8008 8448
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:'+(process.env.CLIENT_PORT??8008)+'/ready').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# Not npm: it would not pass SIGTERM on, and there is nothing to build.
CMD ["node", "--max-semi-space-size=4", "dist/homeserver/bin/main.js"]
