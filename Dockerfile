# The gateway as an image: page built in the first stage, packages with checked hashes in the
# second, and nothing but the program in the last, run by a user without rights.
#
#   docker build -t pdt-gateway:0.1.0 .

# ---- the desk page
FROM node:22.17.0-bookworm-slim AS page
WORKDIR /src/dashboards/desk
COPY dashboards/desk/package.json dashboards/desk/package-lock.json dashboards/desk/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY dashboards/desk/ ./
# Vite writes to /src/gateway/desk/static.
RUN npm run build

# ---- the program and what it needs
FROM python:3.11.13-slim-bookworm AS program
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/pdt-gateway
ENV PATH=/opt/pdt-gateway/bin:$PATH
WORKDIR /src
# The lock first: as long as it stays the same, this layer does.
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY tools/keep_runtime.py tools/
COPY drivers/ drivers/
COPY gateway/ gateway/
COPY dashboards/grafana/ dashboards/grafana/
COPY hil_tests/ hil_tests/
COPY --from=page /src/gateway/desk/static/ gateway/desk/static/
# The wheel is built by the locked hatchling. Then linters, test tools and the installer itself go.
RUN pip install --no-deps --no-build-isolation . \
    && python tools/keep_runtime.py \
    && pip check \
    && pip uninstall --yes --quiet pip

# ---- what runs
FROM python:3.11.13-slim-bookworm
RUN groupadd --gid 10001 pdt-gateway \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin pdt-gateway \
    && install -d -o pdt-gateway -g pdt-gateway -m 0700 /var/lib/pdt-gateway \
    && install -d -m 0755 /etc/pdt-gateway
COPY --from=program /opt/pdt-gateway /opt/pdt-gateway
ENV PATH=/opt/pdt-gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /var/lib/pdt-gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["pdt-gateway"]
CMD ["run", "--config", "/etc/pdt-gateway/gateway.toml"]
