# %% [markdown]
# # Cervical spine fractures in CT: from the RSNA 2022 challenge's DICOM to a submission
#
# 350 GB of DICOM become about 2 GB of small images, once; training and evaluation then read those only. The steps:
# install from wheels without a network, inspect, compile, look, lock a split, train, evaluate on studies that the
# training never saw, submit.
#
# **Research use only. Not a medical device. Not for diagnosis.** Executed on phantoms, as the project's tests do,
# every number below shows that the software works, and nothing of clinical accuracy.
#
# Time, memory and disk on Kaggle's machines: see the table at the end.

# %%
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

DATA = Path(os.environ.get("RSNA_DATA", "/kaggle/input/rsna-2022-cervical-spine-fracture-detection"))
WHEELS = Path(os.environ.get("RSNA_WHEELS", "/kaggle/input/cspine-wheels"))
OUT = Path(os.environ.get("RSNA_OUT", "/kaggle/working"))

N_STUDIES = int(os.environ.get("RSNA_STUDIES", "0"))  # the first ones; 0 for all: begin with 50
NETWORK = os.environ.get("RSNA_NETWORK", "levels")  # or baseline-cnn, the small network of the original notebook
EPOCHS = int(os.environ.get("RSNA_EPOCHS", "30"))
WORKERS = int(os.environ.get("RSNA_WORKERS", str(os.cpu_count() or 1)))

# %% [markdown]
# ## Install without a network
#
# On a machine with a network and Kaggle's version of Python, in a checkout of cspine, collect the wheels, and upload
# the folder (60 wheels, 250 MB) as a Kaggle data set. PyTorch is Kaggle's own.
#
# ```
# pip wheel --wheel-dir cspine-wheels ".[evaluate]" onnx onnxscript lightning-utilities
# pip wheel --wheel-dir cspine-wheels --no-deps lightning-fabric monai
# ```

# %%
if importlib.util.find_spec("cspine") is None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(WHEELS)]
    subprocess.run([*install, "cspine[evaluate]", "onnx", "onnxscript", "lightning-utilities"], check=True)
    subprocess.run([*install, "--no-deps", "lightning-fabric", "monai"], check=True)  # with the PyTorch there is

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image

import cspine
from cspine.core.anatomy import RESEARCH_USE_ONLY, VERTEBRAE
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.loading import open_series
from cspine.dicom.study_collection import open_collection
from cspine.pipelines.compile import compile_dataset
from cspine.pipelines.evaluate import EvaluateSettings, evaluate_run
from cspine.pipelines.split import split_studies
from cspine.pipelines.submit import write_submission
from cspine.pipelines.train import train_network
from cspine.views.settings import CompileSettings

print(f"cspine {cspine.__version__}. {RESEARCH_USE_ONLY}")

# %% [markdown]
# ## Inspect
#
# Labels are one row per study. A study's slices are sorted by their position: in 197 of the challenge's 2,019 studies
# the instance number runs upward.


# %%
def first_studies(data: Path, out: Path, count: int) -> Path:
    """Link the first studies of the challenge's folder into a folder of their own."""
    labels = pd.read_csv(data / "train.csv", dtype=str).head(count)
    (out / "train_images").mkdir(parents=True, exist_ok=True)
    labels.to_csv(out / "train.csv", index=False)
    for uid in labels["StudyInstanceUID"]:
        link = out / "train_images" / uid
        if not link.exists():
            link.symlink_to((data / "train_images" / uid).resolve(), target_is_directory=True)
    boxes = pd.read_csv(data / "train_bounding_boxes.csv", dtype=str)
    boxes[boxes["StudyInstanceUID"].isin(labels["StudyInstanceUID"])].to_csv(
        out / "train_bounding_boxes.csv", index=False
    )
    return out


DATA_USED = first_studies(DATA, OUT / "first-studies", N_STUDIES) if N_STUDIES else DATA
labels = pd.read_csv(DATA_USED / "train.csv", index_col="StudyInstanceUID")
labels.mean().rename("fraction of studies").to_frame()

# %%
collection = open_collection(DATA_USED)
plan = open_series(collection.studies[0].open())
stack, first = plan.series.stack, plan.series.headers[0]
print(f"{len(collection.studies)} studies; the first has {len(stack.order)} slices of {first.rows} x {first.columns}")
print(f"pixels of {stack.pixel_spacing_mm[0]:.2f} mm, slices every {stack.spacing_mm:.2f} mm")
print(*plan.selection.reasons, sep="\n")

# %% [markdown]
# ## Compile
#
# Nine sagittal images along the spine, and for `levels` fifteen views of each vertebra, as JPEG, with the labels in
# Parquet tables. Run the cell again after an interruption: it continues. Studies that cannot be read are listed with
# the reason, and do not stop the others.

# %%
settings = CompileSettings() if NETWORK == "levels" else CompileSettings(spine_aligned=False, levels=None)
summary = compile_dataset(DATA_USED, OUT / "compiled", settings, workers=WORKERS)
print(f"{summary.compiled} studies compiled now, {summary.resumed} before, {len(summary.failed)} failed")
print(f"{summary.bytes_in / 1e9:.2f} GB of DICOM became {summary.bytes_out / 1e6:.1f} MB of JPEG")
if summary.seconds_per_study:
    print(f"{summary.seconds_per_study:.2f} s per study and process")
for uid, reason in summary.failed[:5]:
    print(uid, reason)

# %% [markdown]
# ## Look at a compiled study

# %%
dataset = CompiledDataset.open(OUT / "compiled")
manifest = dataset.manifest()
uid = manifest["study_instance_uid"].iloc[0]
rows = manifest[manifest["study_instance_uid"] == uid].sort_values("image")
figure, axes = plt.subplots(1, len(rows), figsize=(16, 2.4))
for axis, image in zip(np.atleast_1d(axes), dataset.read_images(rows["path"], 256), strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_axis_off()
fractured = [level for level in VERTEBRAE if labels.loc[uid, level]]
figure.suptitle(f"sagittal, from the patient's right to the left; fractured: {', '.join(fractured) or 'none'}")
plt.show()

# %%
levels = dataset.levels()
if len(levels):
    row = levels[levels["study_instance_uid"] == uid].iloc[0]
    figure, axis = plt.subplots(figsize=(16, 4))
    axis.imshow(Image.open(OUT / "compiled" / row["path"]), cmap="gray")
    axis.set_title(f"views of {row['level']}")
    axis.set_axis_off()
    plt.show()

# %% [markdown]
# ## Lock a split
#
# By patient, stratified over all eight labels, and protected by a hash. Training reads `train` and `validation` only.
# (The challenge's headers hold no patient: every study counts as a patient of its own.)

# %%
split = split_studies(OUT / "compiled", OUT / "split.json", seed=0)
pd.DataFrame(split.n_fractured).T.assign(studies={part: len(studies) for part, studies in split.split.parts.items()})

# %% [markdown]
# ## Train
#
# An interrupted run continues from its last epoch. With a GPU, training takes it by itself: one, even of two. Kaggle's
# T4 has no bfloat16, the default precision of `levels`, which then trains in half precision (the command's
# `--precision 16-mixed`). The precision belongs to a run: continue it on the same kind of accelerator.


# %%
def precision_options(network: str) -> dict[str, str]:
    """Return the precision where the network's default is none that the GPU has."""
    lacks_bfloat16 = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return {"precision": "16-mixed"} if network == "levels" and lacks_bfloat16 else {}


training = train_network(
    NETWORK, OUT / "compiled", OUT / "run", split=OUT / "split.json", epochs=EPOCHS, **precision_options(NETWORK)
)
print(f"best epoch {training.best_epoch} of {training.epochs}, validation loss {training.best_loss:.3f}")

# %%
curves = pd.read_csv(OUT / "run" / "curves.csv")
curves.plot(x="epoch", y=["train_loss", "val_loss"], marker=".", figsize=(7, 3.5))
plt.ylabel("weighted log loss")
plt.show()

# %% [markdown]
# ## Evaluate
#
# On the split's `test` part. AUC with 95 % intervals by bootstrap of patients; the report
# (`evaluation/evaluation.html`) has calibration, operating points, subgroups and the worst failures. Leave `holdout`
# for the very end: accesses to it are counted.

# %%
report = evaluate_run(
    OUT / "run", OUT / "compiled", OUT / "evaluation", EvaluateSettings(split=OUT / "split.json", part="test")
)
result = json.loads((OUT / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
print(f"{result['n_studies']} studies; report in {OUT / 'evaluation' / 'evaluation.html'}")
rows = [
    {"target": each["target"], "studies": each["n_cases"], "fractured": each["n_positives"], **(each["auc"] or {})}
    for each in result["models"][0]["targets"]
]
pd.DataFrame(rows).rename(columns={"value": "AUC"}).drop(columns="n_undefined", errors="ignore").round(3)

# %% [markdown]
# ## Submit
#
# The challenge's loss doubles the weight of positives and is normalized per study, so that the number to submit is
# not the probability itself: `study-optimal` computes the minimizer of the expected loss.

# %%
compile_dataset(DATA / "test_images", OUT / "compiled-test", settings, workers=WORKERS)
submission = write_submission(OUT / "compiled-test", OUT / "run", OUT / "submission.csv", "study-optimal")
print(f"{submission.n_rows} rows of {submission.n_studies} studies; without images: {len(submission.missing_studies)}")
pd.read_csv(submission.path).head(8)

# %% [markdown]
# ## Time, memory and disk
#
# | step | per study, two processors | 2,019 studies | memory |
# |---|---|---|---|
# | compile for `levels` | 1.1 s, 2.0 s of processor time | 0.6 h; 318 GB become 2.1 GB | 0.7 GB per process |
# | compile for `baseline-cnn` | 0.5 s of processor time | 0.2 h; they become 0.13 GB | 0.4 GB per process |
# | train `levels`, one epoch without a GPU | 0.8 s | 0.4 h: use a GPU, or fewer studies | 2.2 GB |
# | train `baseline-cnn`, one epoch without a GPU | 0.06 s | 2 min | 0.6 GB |
# | evaluate | 7 s of processor time for 12 studies, mostly start | | 0.6 GB |
#
# Measured on two processors, on 12 phantoms of 300 slices of 512 x 512 pixels (training the baseline: 24 smaller
# ones), and multiplied. The commands and their tables are in the project's
# [benchmarks](https://github.com/cspine/cspine/blob/main/docs/benchmarks.md#rehearsal-at-size) (`python -m
# benchmarks.rehearsal`, `python -m benchmarks.compiled_vs_dicom`). **Nothing was measured on Kaggle.** Its machines
# have (2026; look it up) four virtual processors, 30 GB of memory, 20 GB in `/kaggle/working` and 12 h: compiling
# fits if the input disk delivers more than 10 MB/s, and takes 0.7 h only from 130 MB/s on. Compile in one session,
# save `compiled/` as a data set, and train in another one with a GPU. Memory and disk are no limit.
#
# **Research use only. Not a medical device. Not for diagnosis.**
