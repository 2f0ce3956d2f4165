# nnunet_weak for CPUs, from a clone: docker build -t nnunet_weak .
# The default build of PyTorch is for GPUs and large; name the index of its CPU builds, as PyTorch's site does, with
# --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.12-slim

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/nnunet_weak
COPY pyproject.toml setup.py README.md LICENSE constraints.txt ./
COPY nnunet_weak nnunet_weak
COPY trainers trainers
COPY dataset_conversion dataset_conversion
COPY tools/cpu_torchvision.py tools/smoke_test.py tools/

# The README's step, with the build of PyTorch that the tests run with; and a check that it works.
RUN pip install --constraint constraints.txt ".[xlsx]" \
    && python tools/cpu_torchvision.py \
    && python tools/smoke_test.py \
    && useradd --create-home --uid 1000 weak \
    && mkdir -p /data/nnUNet_raw /data/nnUNet_preprocessed /data/nnUNet_results \
    && chown -R weak /data

ENV nnUNet_raw=/data/nnUNet_raw \
    nnUNet_preprocessed=/data/nnUNet_preprocessed \
    nnUNet_results=/data/nnUNet_results
USER 1000
WORKDIR /data
VOLUME /data
CMD ["nnunet_weak", "doctor"]
