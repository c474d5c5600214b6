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

# Which build of torch: "cpu", or a CUDA version as pytorch.org names it, such as "cu128".
ARG TORCH=cpu
COPY --chown=user requirements.txt ./
RUN pip install --user --no-cache-dir --extra-index-url "https://download.pytorch.org/whl/$TORCH" \
    "$(grep '^torch==' requirements.txt)+$TORCH" \
 || pip install --user --no-cache-dir "$(grep '^torch==' requirements.txt)"
RUN pip install --user --no-cache-dir -r requirements.txt

COPY --chown=user . ./
RUN mkdir -p /home/user/data /home/user/.cache/huggingface
VOLUME ["/home/user/data", "/home/user/.cache/huggingface"]

EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD curl -fsS http://127.0.0.1:7860/healthz || exit 1
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]
