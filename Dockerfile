# An unprivileged mssmtp with a read-only root. Its steps are proven without an engine by
# tools/prove_dockerfile.py, which plays them in a debootstrap chroot.
#
#   docker build -t mssmtp .
#   docker run --rm -v mssmtp:/var/lib/mssmtp mssmtp init --home /var/lib/mssmtp --domain DOMAIN
#   docker run --read-only --tmpfs /tmp --stop-timeout 40 -v mssmtp:/var/lib/mssmtp \
#       -p 25:25 -p 587:587 -p 465:465 -p 143:143 -p 993:993 mssmtp
#
# docs/admin.md says what comes between the two, and how settings get a volume of their own.
FROM debian:bookworm-slim

RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends python3 python3-venv tzdata \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mssmtp
COPY requirements.lock /opt/mssmtp/
RUN python3 -m venv .venv \
    && .venv/bin/pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock \
    && cp requirements.lock .venv/requirements.lock
COPY run /opt/mssmtp/
COPY mssmtp /opt/mssmtp/mssmtp
RUN .venv/bin/python -m compileall -q mssmtp

RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/mssmtp --shell /usr/sbin/nologin mssmtp \
    && install -d -m 0700 -o mssmtp -g mssmtp /var/lib/mssmtp \
    && install -d -m 0750 -o root -g mssmtp /etc/mssmtp
VOLUME /var/lib/mssmtp
VOLUME /etc/mssmtp

ENV PYTHONDONTWRITEBYTECODE=1
ENV MSSMTP_CONFIG=/var/lib/mssmtp/mssmtp.toml
USER mssmtp
EXPOSE 25 587 465 143 993
HEALTHCHECK --interval=30s --timeout=10s CMD test -e /var/lib/mssmtp/store/run/ready || test -e /var/lib/mssmtp/run/ready
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/mssmtp/run"]
CMD ["serve"]
