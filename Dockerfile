# An unprivileged mssmtp with a read-only root. Its steps are proven without an engine by
# tools/prove_dockerfile.py, which plays them in a debootstrap chroot.
#
#   docker build -t mssmtp .
#   docker run --read-only --tmpfs /tmp -v mssmtp-data:/var/lib/mssmtp -v ./etc:/etc/mssmtp:ro \
#       -p 25:25 -p 587:587 -p 465:465 -p 143:143 -p 993:993 mssmtp
FROM debian:bookworm-slim

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mssmtp
COPY requirements.lock run pyproject.toml README.md /opt/mssmtp/
RUN python3 -m venv .venv && .venv/bin/pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock && cp requirements.lock .venv/requirements.lock
COPY mssmtp /opt/mssmtp/mssmtp
RUN .venv/bin/python -m compileall -q mssmtp

RUN useradd --system --uid 10001 --home-dir /var/lib/mssmtp --shell /usr/sbin/nologin mssmtp && install -d -m 0700 -o mssmtp -g mssmtp /var/lib/mssmtp && install -d -m 0750 -o root -g mssmtp /etc/mssmtp
VOLUME /var/lib/mssmtp
VOLUME /etc/mssmtp

ENV PYTHONDONTWRITEBYTECODE=1
USER mssmtp
EXPOSE 25 587 465 143 993
HEALTHCHECK --interval=30s --timeout=10s CMD test -e /var/lib/mssmtp/run/ready
ENTRYPOINT ["/opt/mssmtp/run"]
CMD ["serve", "--config", "/etc/mssmtp/mssmtp.toml"]
