# The studio in a container. CPU by default; for a GPU: --build-arg TORCH=cu128 and `docker run --gpus all`.
# tests/container/run_lines.py runs every RUN line below on a bare Debian root.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends tini libgl1 libglib2.0-0 curl \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 user
USER user
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    STUDIO_HOST=0.0.0.0 \
    STUDIO_PORT=7860 \
    STUDIO_DATA_DIR=/home/user/data \
    HF_HOME=/home/user/.cache/huggingface \
    PYTHONUNBUFFERED=1
WORKDIR /home/user/app

# Where another build of torch lies (an index of wheels, as torch's own page names it) and its
# name, such as "cpu" or "cu128". Without them the usual build is installed.
ARG TORCH_INDEX=""
ARG TORCH=""
COPY --chown=user requirements.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --user --no-cache-dir --extra-index-url "$TORCH_INDEX" \
    "$(grep '^torch==' requirements.txt)+$TORCH"; fi
RUN pip install --user --no-cache-dir -r requirements.txt

COPY --chown=user . ./
RUN mkdir -p /home/user/data /home/user/.cache/huggingface
VOLUME ["/home/user/data", "/home/user/.cache/huggingface"]

EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD curl -fsS http://127.0.0.1:7860/healthz || exit 1
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]
