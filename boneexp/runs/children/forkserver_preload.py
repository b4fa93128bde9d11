"""What the server that children are forked from loads once; it uses none of it, so no child inherits a GPU.

A signal to all processes of a job (SIGTERM by Slurm, SIGHUP of a lost terminal) must not end the server
before its children: it lives as long as the worker, whose pipe it watches.
"""

import os
import signal

from boneexp.runs.children.openmp import spin_settings

os.environ.update(spin_settings(os.environ))  # OpenMP reads it once, when torch is loaded

import sklearn.metrics  # noqa: F401 - two seconds, which each run would take at its end

import boneexp.experiment.run
import boneexp.runs.children.process
import boneexp.runs.children.work  # noqa: F401 - torch and timm, some seconds

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
